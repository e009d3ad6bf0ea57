"""`ivota board remove`, step by step; no printing here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivota_tools.board import on_board
from ivota_tools.board.board_files import CONFIG, PACKAGE, STARTERS, STATE
from ivota_tools.board.identity import heads, is_ours, names_in, own_files
from ivota_tools.board.mpremote import Mpremote


@dataclass
class Removal:
    """What `remove` is about to do."""

    files: list[str]
    folders: list[str]
    back: list[list[str]]  # [from, to]: what install had set aside takes its place again


def removal(board: Mpremote, *, root: Path, keep_config: bool) -> Removal:
    """Finds what on the board is ivota's own; the program on the board is stopped by this."""
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
        # main.py first: cut off in between, a board without a client is left, and not a client
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
    """Does it, and resets the board; returns what is gone."""
    with board.restart_on_failure():
        gone = board.ask(on_board.erase, paths=plan.files, folders=plan.folders, back=plan.back)
    board.reset()
    return list(gone)
