"""Cache downloads: each folder is complete or missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

LAYOUT = "1"  # of the cache; a new version ignores old caches


class ToolchainError(RuntimeError):
    """A program is missing and cannot be downloaded; the message says what to do."""


def cache_dir() -> Path:
    """Return the cache folder: `$XDG_CACHE_HOME/ivota` or `~/.cache/ivota`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # XDG specification: ignore relative paths.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "ivota"


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return the cache's folder `name`; if it is missing, create it atomically with `fetch`."""
    home = cache_dir() / "toolchain"
    folder = home / f"{name}-{LAYOUT}"
    if folder.is_dir():
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(
            f"cannot create a cache folder ({error}): set XDG_CACHE_HOME"
        ) from error
    with _locked(home / f"{name}.lock"):
        if not folder.is_dir():  # another process may have created it in the meantime
            new = home / f"{name}.new"
            shutil.rmtree(new, ignore_errors=True)  # left by a killed process
            new.mkdir()
            try:
                fetch(new)
                new.rename(folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"toolchain: {text}", file=sys.stderr, flush=True)
