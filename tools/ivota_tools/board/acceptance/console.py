"""Record what the board prints during the test, to show it for a failed step."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ivota_tools.board.errors import BoardError
from ivota_tools.board.serial_output import chunks, printable

_LINES = 40


class Console:
    """Read the port in a separate thread, except while it is `released` to mpremote."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the port to another program for the duration of the block."""
        was_reading = self._thread is not None
        self.stop()
        try:
            yield
        finally:
            if was_reading:
                self.start()

    def tail(self, count: int = 8) -> str:
        """Return the last lines, for a report."""
        return "\n".join(list(self._lines)[-count:])

    def _read(self) -> None:
        rest = b""
        try:
            for chunk in chunks(self._port, wait_s=30):
                *whole, rest = (rest + chunk).split(b"\n")
                self._lines.extend(
                    printable(line.decode(errors="replace").rstrip("\r")) for line in whole
                )
                if self._stop.is_set():
                    return
        except BoardError as error:
            self._lines.append(f"({error})")
