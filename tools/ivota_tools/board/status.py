"""`ivota board status`: what a board is, what runs on it, how far it is; no printing here."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.board_files import CONFIG, PACKAGE, STATE, board_files
from ivota_tools.board.errors import BoardError, SilentError
from ivota_tools.board.identity import about
from ivota_tools.board.mpremote import Mpremote


def status(board: Mpremote, *, root: Path, clear: bool = False) -> dict[str, Any]:
    """What the board is, what runs on it and how far it is; see `on_board.describe`.

    The program is stopped for this and started again: by a reset, or in a trial without one,
    unless the client has a thread of its own, which nothing but a reset ends.
    """
    compiled, plain = board_files(root), board_files(root, source=True)
    wanted = {**compiled, **plain}
    arguments: dict[str, Any] = {
        "config": CONFIG,
        "state": STATE,
        "paths": sorted(wanted),
        "clear": clear,
    }
    try:
        found = board.ask(on_board.describe, **arguments)
    except SilentError:
        raise
    except BoardError:
        # The stopped program may hold the memory, or a thread of it print into the answer.
        with board.restart_on_failure():
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
    installed = any(path.startswith(PACKAGE) for path in present)
    complete = set(compiled) <= set(same) or set(plain) <= set(same)
    return {
        "port": board.port,
        "board": about(found),
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
