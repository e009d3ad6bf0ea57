"""Reads what a board prints, without touching what it does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ivota_tools.board.serial_ports import check_port, in_use

_EVENT = re.compile(r"ivota: (\S+)(.*)")
_FIELD = re.compile(r"(\w+)=(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|.*?)(?= \w+=|$)")
_LINE_MOST = 4096  # bytes; a board that prints without line ends is still shown


@dataclass
class Event:
    """One `ivota:` line: the event's name, and its fields in order."""

    name: str
    fields: dict[str, str]


def parse(line: str) -> Event | None:
    """The event in a line of the board's, None where it is something else's line."""
    found = _EVENT.match(line)
    if not found:
        return None
    fields = {key: _unquoted(value) for key, value in _FIELD.findall(found[2])}
    return Event(found[1], fields)


def printable(text: str) -> str:
    """The text with what would control a terminal shown as \\x and two digits."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def lines(port: str, wait_s: float = 10, silence_s: float = 8) -> Iterator[str | None]:
    """The board's lines, for ever; None once, where nothing has come in the first `silence_s`.

    Nothing is sent to the board. A port that goes away, as a board's own USB does when it
    resets, may be away for `wait_s`. Raises BoardError.
    """
    line = b""
    begun = time.monotonic()
    nothing_yet = True
    for chunk in _chunks(port, wait_s):
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


def _chunks(port: str, wait_s: float) -> Iterator[bytes]:
    from mpremote.transport import TransportError
    from mpremote.transport_serial import SerialTransport

    check_port(port)
    end = time.monotonic()
    while True:
        try:
            # mpremote's own way of opening, because that does not reset the board.
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
