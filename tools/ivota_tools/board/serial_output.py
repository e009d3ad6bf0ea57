"""Read the output of a board without disturbing it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ivota_tools.board.serial_ports import check_port, in_use

_EVENT = re.compile(r"ivota: (\S+)(.*)")
_FIELD = re.compile(r"(\w+)=(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|.*?)(?= \w+=|$)")
_LINE_MOST = 4096  # bytes; longer lines are split, for boards that print no line ends


@dataclass
class Event:
    """An `ivota:` line: the event's name and its fields in order."""

    name: str
    fields: dict[str, str]


def parse(line: str) -> Event | None:
    """Parse the event in a line of output; return None for any other line."""
    found = _EVENT.match(line)
    if not found:
        return None
    fields = {key: _unquoted(value) for key, value in _FIELD.findall(found[2])}
    return Event(found[1], fields)


def printable(text: str) -> str:
    """Escape characters that could control a terminal as \\x and two digits."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def lines(port: str, wait_s: float = 10, silence_s: float = 8) -> Iterator[str | None]:
    """Yield the board's lines forever; yield None once if there is no output for `silence_s`
    seconds.

    Nothing is sent to the board. The port may disappear for `wait_s`, as native USB does when the
    board resets. Raises BoardError.
    """
    line = b""
    begun = time.monotonic()
    nothing_yet = True
    for chunk in chunks(port, wait_s):
        if chunk:
            nothing_yet = False
        elif nothing_yet and time.monotonic() - begun > silence_s:
            nothing_yet = False
            yield None
        *whole, line = (line + chunk).split(b"\n")
        if len(line) > _LINE_MOST:
            whole, line = [*whole, line], b""
        for each in whole:
            yield printable(each.decode(errors="replace").rstrip("\r"))


def chunks(port: str, wait_s: float) -> Iterator[bytes]:
    """Yield the board's output forever; yield b"" if nothing arrives in a fifth of a second.

    Closing the generator closes the port. Raises BoardError.
    """
    from mpremote.transport import TransportError
    from mpremote.transport_serial import SerialTransport

    check_port(port)
    end = time.monotonic()
    while True:
        try:
            # Open the port like mpremote, which does not reset the board.
            transport = SerialTransport(port, timeout=0.2)
        except TransportError:
            if time.monotonic() < end:
                time.sleep(0.2)
                continue
            check_port(port)
            raise in_use(port) from None
        try:
            while True:
                # pyserial's errors are OSErrors.
                yield transport.serial.read(transport.serial.in_waiting or 1)
        except OSError:
            end = time.monotonic() + wait_s
        finally:
            try:
                transport.close()
            except OSError:
                pass


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        return value[1:-1]
    return value
