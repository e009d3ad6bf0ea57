"""`ivota board remove`, step by step; no printing here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ivota_tools.board import files as f
from ivota_tools.board import on_board
from ivota_tools.board.found import STATE, is_ours, names_in, own_files, restarting
from ivota_tools.board.mpremote import Mpremote


@dataclass
class Removal:
    """What `remove` is about to do."""

    files: list[str]
    folders: list[str]
    back: list[list[str]]  # [from, to]: what install had set aside takes its place again


def removal(board: Mpremote, *, root: Path, keep_config: bool) -> Removal:
    """Finds what on the board is ivota's own; the program on the board is stopped by this."""
    own = {name: (root / name[1:]).read_bytes() for name in f.STARTERS}
    with restarting(board):
        found = board.ask(
            on_board.look,
            resume=False,
            paths=[],
            folders=["/", "/lib", f.PACKAGE],
            heads=list(f.STARTERS),
            modules=[],
        )
        board.ask(on_board.calm, config=f.CONFIG, state=STATE)
        at_root = names_in(found, "/")
        # main.py first: cut off in between, a board without a client is left, and not a client
        # whose boot.py is gone.
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
        paths = mine + own_files(found)
        if f.CONFIG[1:] in at_root and not keep_config:
            paths.append(f.CONFIG)
        return Removal(paths + written, [each for each in (f.PACKAGE, firmware) if each], back)


def remove(board: Mpremote, plan: Removal) -> list[str]:
    """Does it, and resets the board; returns what is gone."""
    with restarting(board):
        gone = board.ask(on_board.erase, paths=plan.files, folders=plan.folders, back=plan.back)
    board.reset()
    return list(gone)
