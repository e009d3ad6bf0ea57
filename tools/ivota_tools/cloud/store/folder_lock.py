"""Lock a data folder with SQLite for one process; the lock ends with the process."""

from __future__ import annotations

import fcntl
from pathlib import Path

from ..cloud_error import CloudError

NAME = "lock"


class Alone:
    """A lock, held until `close()`. Raises CloudError if another process has it."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / NAME).open("a")
        try:
            # The kernel releases the lock however the process ends; the file itself stays.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise CloudError(
                f"another ivota cloud is using {folder}: stop it first, or choose another --data"
            ) from None

    def close(self) -> None:
        self._file.close()
