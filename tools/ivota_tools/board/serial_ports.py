"""Find and check the serial port of a board."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ivota_tools.board.errors import BoardError


def find_port(port: str | None) -> str:
    """Return the given serial port, or the port of the only board on USB."""
    if port == "":
        raise BoardError(
            "--port is empty. Specify a port, or leave out --port to use the only board on USB"
        )
    need_mpremote()
    from serial.tools import list_ports

    if port is not None:
        return port
    boards = [each for each in sorted(list_ports.comports()) if each.vid is not None]
    if len(boards) == 1:
        return str(boards[0].device)
    if boards:
        names = ", ".join(f"{each.device} ({each.description})" for each in boards)
        raise BoardError(f"several boards are plugged in: {names}. Choose one with --port")
    raise BoardError(
        "no board found on USB. Use a cable that carries data (many only charge), "
        "or specify the port with --port"
    )


def need_mpremote() -> None:
    """Raise BoardError if mpremote, which includes pyserial, is not installed."""
    if importlib.util.find_spec("mpremote") is None:
        raise BoardError(
            "mpremote is not installed. Install it with `python -m pip install mpremote`"
        )


def check_port(port: str) -> None:
    """Raise BoardError with the reason and a solution if the port cannot be opened.

    mpremote has only one message for all reasons ("failed to access").
    """
    if not port.startswith("/"):
        return  # Windows, or a URL for pyserial: nothing to check
    if not os.path.exists(port):
        raise BoardError(
            f"the port {port} does not exist. Check that the board is plugged in, and list the "
            "ports with `mpremote connect list`"
        )
    if not os.access(port, os.R_OK | os.W_OK):
        group = Path(port).group()
        raise BoardError(
            f"no permission to use {port}. It belongs to the group {group}: run "
            f"`sudo usermod -aG {group} $USER`, then log out and in again"
        )


def holders(port: str) -> list[str]:
    """List the programs that have the port open, as far as this user can see them on Linux."""
    wanted = os.path.realpath(port)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(os.path.realpath(fd) == wanted for fd in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:
            continue
    return sorted(found)


def in_use(port: str) -> BoardError:
    """Create the error for a port that exists and is accessible but cannot be opened."""
    program = " and ".join(holders(port)) or "another program"
    return BoardError(
        f"{port} is in use by {program}. Close it (a serial monitor, an editor's board view, "
        "another mpremote) and try again"
    )
