"""Move the board's own files aside for the test, and verify afterwards that all are restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.acceptance import applications, on_board_aside
from ivota_tools.board.acceptance.results import Failed
from ivota_tools.board.acceptance.rig import FOLDER, PUBLIC_KEY
from ivota_tools.board.errors import BoardError
from ivota_tools.board.install_files import CONFIG, KEPT, PACKAGE, STARTERS, STATE
from ivota_tools.board.mpremote import Mpremote

ASIDE = "/ivota-before"
_EXTRA = [FOLDER, PUBLIC_KEY, applications.LOG, "/ivota-test.tmp"]
_SMALL = (*STARTERS, CONFIG, KEPT, STATE)
_OURS = [
    *_SMALL,
    *(f"{path}~" for path in _SMALL),
    *(f"{folder}/bundlefs.{end}" for folder in ("", "/lib") for end in ("py", "mpy", "py~")),
    PACKAGE,
]


class Aside:
    """The board's files before the test. `put` lists the paths of files that the test copies."""

    def __init__(self, board: Mpremote, put: Sequence[str] = ()) -> None:
        self._board = board
        self._paths = [*_OURS, *(path for path in put if path not in _OURS)]
        self._before: list[Any] = []

    def check(self) -> None:
        """Raise BoardError if a version is on trial, because each reset would count against it."""
        if self._board.ask(on_board_aside.in_trial, state=STATE):
            self._board.go_on()
            raise BoardError("this board is running a trial: try again when the trial has ended")

    def begin(self) -> dict[str, Any]:
        """Move aside what the test will write to; return the board's own configuration.

        Files that an earlier test left aside are restored first.
        """
        board = self._board
        board.ask(on_board.feed_watchdog, resume=False, state=STATE)
        if board.ask(on_board_aside.is_aside, aside=ASIDE):
            self._put_back()
        config = board.ask(on_board.load, path=CONFIG)
        self._before = board.ask(on_board_aside.checksums, folder="")
        try:
            board.ask(on_board_aside.set_aside, paths=self._paths, extra=_EXTRA, aside=ASIDE)
        except BaseException:
            self._put_back()
            raise
        return config if isinstance(config, dict) else {}

    def end(self) -> str:
        """Restore all files and reset the board. Raises Failed if a file has changed."""
        board = self._board
        board.ask(on_board.feed_watchdog, resume=False, state=STATE)
        if not board.ask(on_board_aside.is_aside, aside=ASIDE):
            board.reset()
            return "no files were moved aside"
        self._put_back()
        before = {entry[0]: entry[1:] for entry in self._before}
        made = [path for path, *rest in self._sums() if path not in before and not rest]
        if made:
            board.ask(on_board.erase, paths=[], folders=sorted(made, reverse=True), back=[])
        after = {entry[0]: entry[1:] for entry in self._sums()}
        differ = sorted(
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        )
        board.reset()
        if differ:
            raise Failed(f"the test changed these files: {', '.join(differ)}")
        files = sum(1 for rest in before.values() if rest)
        return f"all {files} files have the same size and CRC-32 as before"

    def _sums(self) -> list[Any]:
        found: list[Any] = self._board.ask(on_board_aside.checksums, folder="")
        return found

    def _put_back(self) -> None:
        self._board.ask(on_board_aside.put_back, aside=ASIDE)


def restore(board: Mpremote) -> bool:
    """Restore what an interrupted test left aside; return whether there was anything."""
    with board.restart_on_failure():
        there = bool(board.ask(on_board_aside.is_aside, aside=ASIDE))
        if there:
            board.ask(on_board.feed_watchdog, resume=False, state=STATE)
            board.ask(on_board_aside.put_back, aside=ASIDE)
    board.reset()
    return there
