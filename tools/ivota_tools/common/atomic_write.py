"""Files replaced in one step: whoever reads finds the old one or the new, never a half."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes | str) -> None:
    """Puts this there, text as UTF-8, and makes the folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(data.encode() if isinstance(data, str) else data)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
