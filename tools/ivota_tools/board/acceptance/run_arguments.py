"""Parse the test's inputs: files for the board, and this computer's address."""

from __future__ import annotations

import socket
from pathlib import Path

from ivota_tools.board.errors import BoardError


def file_and_path(given: str) -> tuple[Path, str]:
    """Parse FILE:/PATH into a local file and its path on the board; raises BoardError."""
    file, colon, path = given.rpartition(":")
    if not colon or not path.startswith("/") or path.endswith("/"):
        raise BoardError(
            f"--put must be FILE:/PATH, for example own.py:/own_network.py, not {given!r}"
        )
    if not Path(file).is_file():
        raise BoardError(f"{file} is not a file: --put copies a file from this computer")
    return Path(file), path


def own_address() -> str:
    """Return the address at which others reach this computer, without sending anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # in the block reserved for documentation
            return str(probe.getsockname()[0])
        except OSError:
            raise BoardError(
                "cannot find an address at which the board can reach this computer: specify one "
                "with --address"
            ) from None
