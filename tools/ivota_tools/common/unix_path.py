"""Shorten paths of Unix sockets, which the system limits to about 100 bytes."""

from __future__ import annotations

import os
from pathlib import Path

MOST = 100  # bytes; 107 on Linux, 103 elsewhere
_PROC = Path("/proc/self/fd")


def unix_path(path: Path) -> str:
    """Return a shorter name for this path, or the path itself. The folder must exist."""
    if len(os.fsencode(path)) <= MOST or not _PROC.is_dir():
        return str(path)
    # Stays open as long as the process lives; there are few such folders.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"{_PROC}/{folder}/{path.name}"
