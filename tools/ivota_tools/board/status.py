"""Collect the data for `ivota board status`, without output."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.errors import BoardError, SilentError
from ivota_tools.board.file_ownership import about
from ivota_tools.board.install_files import CONFIG, PACKAGE, STATE, board_files
from ivota_tools.board.mpremote import Mpremote


def status(board: Mpremote, *, root: Path, clear: bool = False) -> dict[str, Any]:
    """Return the board's description, version and update progress; see `on_board.describe`.

    The program is stopped and restarted: by a reset, but in a trial without one, unless the client
    has its own thread, which only a reset stops.
    """
    compiled, plain = board_files(root), board_files(root, source=True)
    wanted = {**compiled, **plain}
    arguments: dict[str, Any] = {
        "config": CONFIG,
        "state": STATE,
        "paths": sorted(wanted),
        "clear": clear,
    }
    with board.restart_on_failure():
        try:
            board.ask(on_board.feed_watchdog, state=STATE)
            found = board.ask(on_board.describe, **arguments)
        except SilentError:
            raise
        except BoardError:
            # The stopped program may use the memory, or its thread may print into the response.
            found = board.ask(on_board.describe, resume=False, **arguments)
        goes_on = found["state"].get("trial") and not found["threads"]
        if goes_on:
            board.ask(on_board.stop_feeding)
    if goes_on:
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
    # The interpreter looks into the firmware before it looks into /lib.
    package = "current" if complete else "other" if installed else "none"
    package = "frozen" if found["frozen"] else package
    return {
        "port": board.port,
        "board": about(found),
        "device": found["device"],
        "broker": found["broker"],
        "version": version if package != "none" or kind != "configuration" else None,
        "version_from": kind,
        "package": package,
        "frozen": found["frozen"],
        "boot": found["boot"],
        "state": found["state"],
        "checkpoints": found["checkpoints"],
        "partitions": found["partitions"],
        "cleared": clear,
    }
