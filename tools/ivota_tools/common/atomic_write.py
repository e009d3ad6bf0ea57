"""Replace files atomically: readers see the old or the new file, never a partial one.

That also holds after a power cut.
"""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes | str) -> None:
    """Write a file, with text as UTF-8, and create its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with half.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
