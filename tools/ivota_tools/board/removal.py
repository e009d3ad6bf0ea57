"""The steps of `ivota board remove`, without output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivota_tools.board import on_board
from ivota_tools.board.file_ownership import heads, is_ours, names_in, own_files
from ivota_tools.board.install_files import CONFIG, PACKAGE, STARTERS, STATE
from ivota_tools.board.mpremote import Mpremote


@dataclass
class Removal:
    """The planned changes of `remove`."""

    files: list[str]
    folders: list[str]
    back: list[list[str]]  # [from, to] of files that install had set aside


def removal(board: Mpremote, *, root: Path, keep_config: bool) -> Removal:
    """Find ivota's own files on the board; this stops the program on the board."""
    own = {name: (root / name[1:]).read_bytes() for name in STARTERS}
    with board.restart_on_failure():
        found = board.ask(
            on_board.look,
            resume=False,
            paths=[],
            folders=["/", "/lib", PACKAGE],
            heads=list(STARTERS),
            modules=[],
        )
        board.ask(on_board.feed_watchdog, state=STATE)
        at_root, there = names_in(found, "/"), heads(found)
        # Remove main.py first: an interruption then leaves a board without a client, not a client
        # whose boot.py is gone.
        mine = [
            name
            for name in reversed(STARTERS)
            if name in there and is_ours(there[name], own[name])
        ]
        back = [
            [f"{name}.bak", name]
            for name in STARTERS
            if f"{name[1:]}.bak" in at_root and (name in mine or name[1:] not in at_root)
        ]
        written = board.ask(on_board.written, config=CONFIG, state=STATE)
        paths = mine + own_files(found)
        if CONFIG[1:] in at_root and not keep_config:
            paths.append(CONFIG)
        folders = [folder for folder in (PACKAGE, written["folder"]) if folder]
        return Removal(paths + written["files"], folders, back)


def remove(board: Mpremote, plan: Removal) -> list[str]:
    """Carry out the plan and reset the board; return the removed paths."""
    with board.restart_on_failure():
        gone = board.ask(on_board.erase, paths=plan.files, folders=plan.folders, back=plan.back)
    board.reset()
    return list(gone)
