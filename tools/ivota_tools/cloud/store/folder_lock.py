"""Lock a folder for one process; the lock ends with the process."""

from __future__ import annotations

import fcntl
from pathlib import Path

from ..cloud_error import CloudError

NAME = "lock"


class Alone:
    """A lock, held until `close()`. Raises CloudError with `taken` if another process has it."""

    def __init__(self, folder: Path, taken: str = "") -> None:
        self._file = (folder / NAME).open("a")
        try:
            # The kernel releases the lock however the process ends; the file itself stays.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            other = f"another ivota cloud is using {folder}: stop it first, or choose another"
            raise CloudError(taken or f"{other} --data") from None

    def close(self) -> None:
        self._file.close()
