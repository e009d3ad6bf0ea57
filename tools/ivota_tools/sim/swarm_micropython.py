"""Run real simulated boards within a swarm: each is a MicroPython with this checkout's code."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from .board import Board
from .swarm import Options


class Boards:
    """`with Boards(3, options) as boards: …`; at the end they are off and deleted."""

    def __init__(self, count: int, options: Options) -> None:
        self._count, self._options = count, options
        self._boards: list[Board] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Boards:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-swarm-")))
            for number in range(self._count):
                board = Board(folder / f"board{number}", config=self._config(number))
                board.install()
                self._boards.append(stack.enter_context(board))
            for board in self._boards:
                board.power_on()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _config(self, number: int) -> dict[str, object]:
        options = self._options
        return {
            "product_id": options.product,
            "device_name": f"board{number}",
            "version": options.version,
            "mqtt": {"host": options.host, "port": options.port},
            "report_interval_s": max(round(options.interval_s), 1),
        }

    def status(self) -> dict[str, object]:
        """Return how many have power, and the first error of the simulation, if any."""
        if not self._boards:
            return {}
        failures = [board.failure for board in self._boards if board.failure]
        found: dict[str, object] = {"boards": sum(1 for board in self._boards if board.on)}
        return found | {"failures": failures} if failures else found
