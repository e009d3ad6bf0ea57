"""Reset the board from outside: with a command, the port's lines, or a person."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from ivota_tools.board.acceptance.console import Console
from ivota_tools.board.acceptance.results import Skipped
from ivota_tools.board.errors import BoardError
from ivota_tools.board.mpremote import Mpremote

_MARK = "ivota_board_test"
_COMMAND_S = 120
_PORT_S = 30
_LOW_S = 0.2  # duration of the low level on an ESP32's reset line

Ask = Callable[[str], bool]
"""Asks the person at the board to do something; False where there is nobody to ask."""


class Resets:
    """`reset()` resets the board from outside. `by` names the method; None if there is none."""

    def __init__(self, board: Mpremote, console: Console, command: str | None, ask: Ask | None):
        self._board = board
        self._console = console
        self._command = command
        self._ask = ask
        self.by: str | None = None

    def find(self) -> str:
        """Try the available ways until one resets the board; raises Skipped if none does."""
        ways: list[tuple[str, Callable[[], bool]]] = []
        if self._command:
            ways.append(("the power command", self._run_command))
        else:
            ways.append(("the port's DTR and RTS lines", self._toggle_lines))
            if self._ask:
                ways.append(("a person", self._ask_person))
        for name, way in ways:
            self._board.run("exec", f"{_MARK} = 1")
            if way() and not self._is_marked():
                self.by, self._way = name, way
                return name
        if self._command:
            raise Skipped(
                "the power command does not reset the board: the same program keeps running"
            )
        raise Skipped(
            "this computer cannot reset the board: the port's lines do not reset it, and "
            "--power-command is not set"
        )

    def reset(self) -> None:
        """Reset the board. Raises Skipped if no way was found."""
        if self.by is None:
            raise Skipped("this computer cannot reset the board: the step `reset` says why")
        if not self._way():
            raise Skipped(f"{self.by} did not reset the board this time")

    def _is_marked(self) -> bool:
        """Return whether the variable still exists, so the interpreter has not restarted."""
        end = time.monotonic() + _PORT_S
        while True:
            time.sleep(1)
            try:
                with self._console.released():
                    return "True" in self._board.run("exec", f"print('{_MARK}' in globals())")
            except BoardError:  # the port may disappear only at this point
                if time.monotonic() > end:
                    raise

    def _run_command(self) -> bool:
        try:
            done = subprocess.run(
                self._command or "", shell=True, timeout=_COMMAND_S, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise BoardError(f"--power-command took more than {_COMMAND_S} s") from None
        if done.returncode:
            raise BoardError(f"--power-command failed with exit code {done.returncode}")
        self._wait_for_port()
        return True

    def _toggle_lines(self) -> bool:
        import serial

        with self._console.released():
            try:
                port = serial.serial_for_url(self._board.port, timeout=0)
                try:
                    # Like esptool: RTS pulls the chip's reset line, DTR its boot pin.
                    port.dtr = False
                    port.rts = True
                    time.sleep(_LOW_S)
                    port.rts = False
                finally:
                    port.close()
            except OSError:  # a pty has no such lines, and pyserial's errors are OSErrors
                return False
            self._wait_for_port()
        return True

    def _ask_person(self) -> bool:
        asked = self._ask and self._ask(
            "Press the board's reset button, or switch its power off and on again"
        )
        if asked:
            self._wait_for_port()
        return bool(asked)

    def _wait_for_port(self) -> None:
        """Wait for the port: a board's native USB disappears during a reset."""
        from ivota_tools.board.serial_ports import check_port

        end = time.monotonic() + _PORT_S
        while True:
            try:
                return check_port(self._board.port)
            except BoardError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
