"""The steps of `ivota board install`, without output."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.config_check import check_config
from ivota_tools.board.errors import BoardError
from ivota_tools.board.file_ownership import about, heads, is_ours, is_stock, names_in, own_files
from ivota_tools.board.install_files import CONFIG, KEPT, PACKAGE, STARTERS, STATE, board_files
from ivota_tools.board.mpremote import Mpremote, call_source
from ivota_tools.common.progress import Begin, silent

# Modules that the package requires, included in most firmware.
NEEDED = ("umqtt.simple", "requests")


def install(
    board: Mpremote,
    given: bytes | None,
    *,
    root: Path,
    source: bool = False,
    force: bool = False,
    reset: bool = True,
    progress: Begin = silent,
) -> dict[str, Any]:
    """Install ivota and a checked configuration on the board, copying only files that differ.

    Without a configuration, the board keeps its own. Every file is copied under a temporary name
    and verified, and then all are moved into place. Raises BoardError.
    """
    wanted = _wanted(root, source, given)
    own = {name: wanted[name] for name in STARTERS}
    with board.restart_on_failure():
        if given is not None:
            settings = json.loads(given)
        else:
            settings = _its_own_configuration(board, root)
        # Start with a soft reset, which stops the application's threads and frees its memory.
        found = _look(board, wanted, settings, resume=False)
        if not source and found["mpy"] != _mpy_generation(wanted):
            source = True
            wanted = _wanted(root, source, given)
            found = _look(board, wanted, settings, resume=True)
        board.ask(on_board.feed_watchdog, state=STATE)
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
                    f"{', '.join(damaged)} arrived damaged, so nothing was changed. Check "
                    "the cable and try again"
                )
        if reset:
            board.reset()
    return {
        "port": board.port,
        "board": about(found),
        "device": f"{settings['product_id']}/{settings['device_name']}".replace(
            "{mac}", found["mac"]
        ),
        "copied": differ,
        "unchanged": len(wanted) - len(differ),
        "removed": unwanted,
        "kept": [new for _, new in aside],
        "source": source,
        "active": state.get("active"),
        "reset": reset,
    }


def _wanted(root: Path, source: bool, given: bytes | None) -> dict[str, bytes]:
    """Return a map from paths on the board to the contents to install."""
    files = board_files(root, source)
    if given is not None:
        files[CONFIG] = given
    return files


def _its_own_configuration(board: Mpremote, root: Path) -> dict[str, Any]:
    settings = board.ask(on_board.load, path=CONFIG)
    if settings is None:
        raise BoardError("the board has no configuration yet: specify one with --config")
    return dict(check_config(settings, "the board's configuration", root))


def _look(
    board: Mpremote, wanted: dict[str, bytes], settings: dict[str, Any], *, resume: bool
) -> dict[str, Any]:
    found = board.ask(
        on_board.look,
        resume=resume,
        paths=[*wanted, *_referred(settings)],
        folders=["/", "/lib", PACKAGE],
        heads=list(STARTERS),
        modules=list(NEEDED),
    )
    return dict(found)


def _referred(settings: dict[str, Any]) -> dict[str, str]:
    """Return a map from paths on the board to the configuration keys that refer to them."""
    named = {
        f"{part}.{key}": (settings.get(part) or {}).get(key)
        for part in ("mqtt", "http")
        for key in ("ca", "cert", "key")
    }
    files = {path: key for key, path in named.items() if path}
    channel = (settings.get("channel") or {}).get("keys") or ()
    files |= dict.fromkeys(channel, "channel.keys")
    return files | dict.fromkeys(settings.get("keys") or (), "keys")


def _check_missing(found: dict[str, Any], settings: dict[str, Any]) -> None:
    for path, key in _referred(settings).items():
        if not found["files"][path]:
            raise BoardError(
                f"{key} refers to {path}, which is not on the board. Copy it to the board: "
                f"`mpremote fs cp FILE :{path}`"
            )
    if found["missing"]:
        raise BoardError(
            f"the board's firmware lacks {' and '.join(found['missing'])}: first run "
            f"`mpremote mip install {' '.join(found['missing'])}`"
        )


def _foreign(found: dict[str, Any], own: dict[str, bytes], force: bool) -> list[list[str]]:
    """Return [from, to] of files to set aside. Raises BoardError if that is not allowed."""
    foreign = [
        name
        for name, head in heads(found).items()
        if not is_ours(head, own[name]) and not is_stock(head)
    ]
    if foreign and not force:
        raise BoardError(
            f"the board has its own {' and '.join(foreign)}. Nothing was changed. Use "
            "--force to keep your version as .bak and install ivota's version. To keep using your "
            "version, install only the package: `mpremote mip install ./package.json`"
        )
    taken = [f"{name}.bak" for name in foreign if f"{name[1:]}.bak" in names_in(found, "/")]
    if taken:
        raise BoardError(
            f"the board already has {' and '.join(taken)}, which --force would overwrite. "
            "Save a copy, and delete the original: "
            f"`mpremote fs rm {' '.join(f':{each}' for each in taken)}`"
        )
    return [[name, f"{name}.bak"] for name in foreign]


def _unwanted(found: dict[str, Any], wanted: dict[str, bytes], differ: list[str]) -> list[str]:
    """Find older modules, because MicroPython prefers a .py to the .mpy next to it, and temporary
    files of an interrupted install; those in `differ` will be overwritten. The board's saved copy
    of the configuration is replaced along with it: a board without a clock might mistake the new
    configuration, which has the same time, for a damaged old one."""
    kept = {*wanted, *(f"{path}~" for path in differ)}
    if CONFIG not in differ:
        kept.add(KEPT)
    return [path for path in own_files(found) if path not in kept]


def _check_room(found: dict[str, Any], sizes: list[int]) -> None:
    block = found["block"]
    need = sum(size // block + 1 for size in sizes) * block
    if need > found["free"]:
        raise BoardError(
            f"the board has {found['free'] // 1024} KiB free, but {need // 1024} KiB are needed. "
            "Find and delete unneeded files: `mpremote fs tree`"
        )


def _copy(board: Mpremote, files: dict[str, bytes], progress: Begin) -> None:
    """Copy each file to its path with ~ appended."""
    total = sum(map(len, files.values()))
    at = progress(f"copying {len(files)} files", total)
    folders = ["/lib", PACKAGE]
    with tempfile.TemporaryDirectory() as place:
        commands = ["exec", call_source(on_board.make_folders, folders=folders)]
        starts: dict[str, int] = {}
        before = 0
        for number, (path, data) in enumerate(files.items()):
            local = Path(place, str(number))
            local.write_bytes(data)
            commands += ["+", "fs", "cp", "-f", local.as_posix(), f":{path}~"]
            starts[f"cp {local.as_posix()} :{path}~"] = before
            before += len(data)

        def on_line(line: str) -> None:
            if line in starts:
                at(starts[line] / max(total, 1))

        board.run(*commands, on_line=on_line)
    at(1.0)


def _mpy_generation(files: dict[str, bytes]) -> int:
    """Return the second byte of every .mpy file; a board reads only its own generation."""
    return next(data[1] for path, data in files.items() if path.endswith(".mpy"))
