"""Find HAProxy, which distributes devices among the nodes of a broker."""

from __future__ import annotations

import shutil
from pathlib import Path

from .brokers import PATHS
from .cache import cached
from .debian import fetch_program
from .program_launch import unpacked


def haproxy() -> list[str]:
    """Return the command line of HAProxy, from PATH or from Debian. Raises ToolchainError."""
    found = shutil.which("haproxy", path=PATHS)
    if found:
        return [found]
    return list(unpacked(cached("haproxy", _fetch) / "amd64", "haproxy"))


def _fetch(new: Path) -> None:
    fetch_program(
        "haproxy",
        new,
        command=lambda folder: [*unpacked(folder, "haproxy"), "-v"],
        works=lambda done: "HAProxy version" in done.stdout,
    )
