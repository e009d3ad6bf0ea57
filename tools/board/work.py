"""What `ivota board` does to a board, step by step; no printing here."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivota_tools.board import files as f
from ivota_tools.board import on_board
from ivota_tools.board.files import BoardError
from ivota_tools.board.mpremote import Mpremote, call_source

STATE = "/ivota-state.json"
NEEDED = ("umqtt.simple", "requests")
"""Modules that most firmware brings along, and the package cannot do without."""

# What the boot.py and main.py that ports put on a new file system consist of.
_STOCK = re.compile(
    r"(#.*|import (u?os|machine|gc|pyb|esp|webrepl|network)(, *(u?os|machine|gc|pyb))*"
    r"|gc\.collect\(\))?"
)

Progress = Callable[[str, int, int], None]
"""Called with a file's path, the bytes copied so far, and the bytes there are to copy."""


def is_ours(head: bytes, own: bytes) -> bool:
    """Whether a boot.py or main.py is ivota's, of whatever release: its first line says so."""
    return head.split(b"\n")[0].rstrip() == own.split(b"\n")[0].rstrip()


def is_stock(head: bytes) -> bool:
    """Whether a boot.py or main.py does nothing that anyone would miss."""
    lines = head.decode(errors="replace").splitlines()
    return len(head) < 2048 and all(_STOCK.fullmatch(line.strip()) for line in lines)


@contextmanager
def restarting(board: Mpremote) -> Iterator[None]:
    """Lets the program that was stopped start again when the work fails or is given up."""
    try:
        yield
    except BaseException:
        with suppress(BoardError):
            board.reset()
        raise


def install(
    board: Mpremote,
    given: bytes | None,
    *,
    root: Path,
    source: bool = False,
    force: bool = False,
    reset: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Puts ivota and a configuration that was checked on the board; only what differs is copied.

    Where none is given the board keeps the one it has. Every file is copied beside its place and
    checked there; then all take their places. Raises BoardError.
    """
    wanted = f.board_files(root, source)
    own = {name: wanted[name] for name in f.STARTERS}
    if given is not None:
        wanted[f.CONFIG] = given
    settings = json.loads(given) if given is not None else board.ask(on_board.load, path=f.CONFIG)
    if settings is None:
        raise BoardError("there is no configuration on the board yet: give one with --config")
    f.check_config(json.dumps(settings).encode(), "the board's configuration", root)
    # A soft reset first: it ends the application's threads and frees its memory.
    with restarting(board):
        found = _look(board, wanted, settings, resume=False)
        if not source and found["mpy"] != _mpy_generation(wanted):
            source = True
            wanted = {**f.board_files(root, source), **_only(wanted, f.CONFIG)}
            found = _look(board, wanted, settings, resume=True)
        board.ask(on_board.calm, config=f.CONFIG, state=STATE)
        state = board.ask(on_board.load, path=STATE) or {}
        _check_missing(found, settings)
        aside = _foreign(found, own, force)
        differ = [
            path
            for path, data in wanted.items()
            if found["files"][path] != [len(data), hashlib.sha256(data).hexdigest()]
        ]
        unwanted = _unwanted(found, wanted, differ)
        _check_room(found, [len(wanted[path]) for path in differ])
        if differ:
            _copy(board, {path: wanted[path] for path in differ}, progress)
        if differ or unwanted:
            digests = [[path, hashlib.sha256(wanted[path]).hexdigest()] for path in differ]
            damaged = board.ask(on_board.swap, files=digests, aside=aside, unwanted=unwanted)
            if damaged:
                raise BoardError(
                    f"{', '.join(damaged)} did not arrive whole, so nothing was changed. Check "
                    "the cable and try again"
                )
        if reset:
            board.reset()
    return {
        "port": board.port,
        "board": _board(found),
        "device": f"{settings['product_id']}/{settings['device_name']}",
        "copied": differ,
        "unchanged": len(wanted) - len(differ),
        "removed": unwanted,
        "kept": [new for _, new in aside],
        "source": source,
        "active": state.get("active"),
        "reset": reset,
    }


def status(board: Mpremote, *, root: Path, clear: bool = False) -> dict[str, Any]:
    """What the board is, what runs on it and how far it is; see `on_board.describe`.

    The program is stopped for this and started again: by a reset, or in a trial without one,
    unless the client has a thread of its own, which nothing but a reset ends.
    """
    compiled, plain = f.board_files(root), f.board_files(root, source=True)
    wanted = {**compiled, **plain}
    arguments: dict[str, Any] = {
        "config": f.CONFIG,
        "state": STATE,
        "paths": sorted(wanted),
        "clear": clear,
    }
    try:
        found = board.ask(on_board.describe, **arguments)
    except BoardError:
        # The stopped program may hold the memory, or a thread of it print into the answer.
        found = board.ask(on_board.describe, resume=False, **arguments)
    if found["state"].get("trial") and not found["threads"]:
        board.go_on()
    else:
        board.reset()
    kind, version = found["runs"]
    present = {path: digest for path, digest in found["package"].items() if digest}
    same = [
        path
        for path, digest in present.items()
        if digest == [len(wanted[path]), hashlib.sha256(wanted[path]).hexdigest()]
    ]
    installed = any(path.startswith(f.PACKAGE) for path in present)
    complete = set(compiled) <= set(same) or set(plain) <= set(same)
    return {
        "port": board.port,
        "board": _board(found),
        "device": found["device"],
        "broker": found["broker"],
        "version": version if installed or kind != "configuration" else None,
        "version_from": kind,
        "package": "current" if complete else "other" if installed else "none",
        "state": found["state"],
        "checkpoints": found["checkpoints"],
        "partitions": found["partitions"],
        "cleared": clear,
    }


@dataclass
class Removal:
    """What `remove` is about to do."""

    files: list[str]
    folders: list[str]
    back: list[list[str]]
    """[from, to]: what install had set aside takes its place again."""


def removal(board: Mpremote, *, root: Path, keep_config: bool) -> Removal:
    """Finds what on the board is ivota's own; the program on the board is stopped by this."""
    own = {name: (root / name[1:]).read_bytes() for name in f.STARTERS}
    found = board.ask(
        on_board.look,
        resume=False,
        paths=[],
        folders=["/", "/lib", f.PACKAGE],
        heads=list(f.STARTERS),
        modules=[],
    )
    with restarting(board):
        board.ask(on_board.calm, config=f.CONFIG, state=STATE)
        at_root = _names(found, "/")
        mine = [
            name
            for name in reversed(f.STARTERS)
            if name in found["heads"] and is_ours(bytes.fromhex(found["heads"][name]), own[name])
        ]
        back = [
            [f"{name}.bak", name]
            for name in f.STARTERS
            if f"{name[1:]}.bak" in at_root and (name in mine or name[1:] not in at_root)
        ]
        *written, firmware = board.ask(on_board.ours, config=f.CONFIG, state=STATE)
        paths = mine + _own_files(found)
        if f.CONFIG[1:] in at_root and not keep_config:
            paths.append(f.CONFIG)
        return Removal(paths + written, [each for each in (f.PACKAGE, firmware) if each], back)


def remove(board: Mpremote, plan: Removal) -> list[str]:
    """Does it, and resets the board; returns what is gone."""
    with restarting(board):
        gone = board.ask(on_board.erase, paths=plan.files, folders=plan.folders, back=plan.back)
    board.reset()
    return list(gone)


def _look(
    board: Mpremote, wanted: dict[str, bytes], settings: dict[str, Any], *, resume: bool
) -> dict[str, Any]:
    found = board.ask(
        on_board.look,
        resume=resume,
        paths=[*wanted, *_referred(settings)],
        folders=["/", "/lib", f.PACKAGE],
        heads=list(f.STARTERS),
        modules=list(NEEDED),
    )
    return dict(found)


def _referred(settings: dict[str, Any]) -> dict[str, str]:
    """Path → key, for each file on the board that the configuration names."""
    named = {f"{part}.ca": (settings.get(part) or {}).get("ca") for part in ("mqtt", "http")}
    files = {path: key for key, path in named.items() if path}
    return files | dict.fromkeys(settings.get("keys") or (), "keys")


def _check_missing(found: dict[str, Any], settings: dict[str, Any]) -> None:
    for path, key in _referred(settings).items():
        if not found["files"][path]:
            raise BoardError(
                f"{key} names {path}, which is not on the board. Put it there: "
                f"`mpremote fs cp FILE :{path}`"
            )
    if found["missing"]:
        raise BoardError(
            f"the board's firmware lacks {' and '.join(found['missing'])}. Install first: "
            f"`mpremote mip install {' '.join(found['missing'])}`"
        )


def _foreign(found: dict[str, Any], own: dict[str, bytes], force: bool) -> list[list[str]]:
    """[from, to] for what has to be set aside; raises BoardError where that is not allowed."""
    heads = {name: bytes.fromhex(head) for name, head in found["heads"].items()}
    foreign = [
        name for name, head in heads.items() if not is_ours(head, own[name]) and not is_stock(head)
    ]
    if foreign and not force:
        raise BoardError(
            f"{' and '.join(foreign)} on the board is not ivota's. Nothing was changed. --force "
            "keeps it with .bak added to its name and puts ivota's in its place; to keep using "
            "it, install only the package: `mpremote mip install ./package.json`"
        )
    taken = [f"{name}.bak" for name in foreign if f"{name[1:]}.bak" in _names(found, "/")]
    if taken:
        raise BoardError(
            f"{' and '.join(taken)} is on the board already, and would be lost. Copy it away and "
            f"delete it: `mpremote fs rm :{taken[0]}`"
        )
    return [[name, f"{name}.bak"] for name in foreign]


def _unwanted(found: dict[str, Any], wanted: dict[str, bytes], differ: list[str]) -> list[str]:
    """Older modules, because MicroPython prefers a .py to the .mpy beside it, and temporaries
    that an install left which was broken off; those in `differ` will be overwritten. The board's
    copy of a configuration goes with it: a board without a clock might take the new one, which
    then has the same time, for the old one with damage."""
    kept = {*wanted, *(f"{path}~" for path in differ)}
    if f.CONFIG not in differ:
        kept.add(f.KEPT)
    return [path for path in _own_files(found) if path not in kept]


def _own_files(found: dict[str, Any]) -> list[str]:
    """What only ivota can have put there: its modules, its copy of the configuration, and
    temporaries of all its files."""
    temporaries = [f.KEPT, *(f"{path}~" for path in (*f.STARTERS, f.CONFIG, f.KEPT))]
    top = [f"/{name}" for name in _names(found, "/")]
    lib = [f"/lib/{name}" for name in _names(found, "/lib") if _is_bundlefs(name)]
    package = [f"{f.PACKAGE}/{name}" for name in _names(found, f.PACKAGE) if _is_module(name)]
    return [path for path in top if path in temporaries or _is_bundlefs(path[1:])] + lib + package


def _check_room(found: dict[str, Any], sizes: list[int]) -> None:
    block = found["block"]
    need = sum(size // block + 1 for size in sizes) * block
    if need > found["free"]:
        raise BoardError(
            f"the board has {found['free'] // 1024} KiB free, and {need // 1024} KiB are needed. "
            "Delete files that you do not need: `mpremote fs tree`"
        )


def _copy(board: Mpremote, files: dict[str, bytes], progress: Progress | None) -> None:
    """Copies each file to its path with ~ added."""
    total = sum(map(len, files.values()))
    folders = ["/lib", f.PACKAGE]
    with tempfile.TemporaryDirectory() as place:
        commands = ["exec", call_source(on_board.prepare, folders=folders)]
        starts: dict[str, tuple[str, int]] = {}
        before = 0
        for number, (path, data) in enumerate(files.items()):
            local = Path(place, str(number))
            local.write_bytes(data)
            commands += ["+", "fs", "cp", "-f", local.as_posix(), f":{path}~"]
            starts[f"cp {local.as_posix()} :{path}~"] = (path, before)
            before += len(data)

        def on_line(line: str) -> None:
            if progress and line in starts:
                path, done = starts[line]
                progress(path, done, total)

        board.run(*commands, on_line=on_line)
    if progress:
        progress("", total, total)


def _board(found: dict[str, Any]) -> dict[str, Any]:
    keys = ("name", "version", "machine", "platform", "file_system", "size", "free")
    return {key: found[key] for key in keys}


def _names(found: dict[str, Any], folder: str) -> list[str]:
    return [name for name, is_folder in found["folders"][folder] if not is_folder]


def _mpy_generation(files: dict[str, bytes]) -> int:
    """The second byte of every .mpy file; a board reads only its own generation."""
    return next(data[1] for path, data in files.items() if path.endswith(".mpy"))


def _is_module(name: str) -> bool:
    return name.rstrip("~").endswith((".py", ".mpy"))


def _is_bundlefs(name: str) -> bool:
    return name.rstrip("~") in ("bundlefs.py", "bundlefs.mpy")


def _only(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {name: files[name]} if name in files else {}
