"""Prometheus and Alertmanager, from PATH or Debian, to test rules and a dashboard with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from .cache import cached
from .debian import fetch_program
from .program_launch import unpacked

_PACKAGES = {"amtool": "prometheus-alertmanager"}  # the others have their program's name


def prometheus() -> list[str]:
    """Return the command line of the Prometheus server. Raises ToolchainError."""
    return _found("prometheus")


def promtool() -> list[str]:
    """Return the command line of promtool, which checks and tests rules. Raises ToolchainError."""
    return _found("promtool")


def amtool() -> list[str]:
    """Return the command line of amtool, which checks the Alertmanager's file.

    Raises ToolchainError.
    """
    return _found("amtool")


def _found(program: str) -> list[str]:
    found = shutil.which(program)
    if found:
        return [found]
    return list(unpacked(cached(program, _fetcher(program)) / "amd64", program))


def _fetcher(program: str) -> Callable[[Path], None]:
    def fetch(new: Path) -> None:
        fetch_program(
            program,
            new,
            package=_PACKAGES.get(program),
            command=lambda folder: [*unpacked(folder, program), "--version"],
            works=lambda done: f"{program}, version" in done.stdout + done.stderr,
        )
        # The package of amtool also has the Alertmanager itself, which nothing here runs.
        (new / "amd64/usr/bin/prometheus-alertmanager").unlink(missing_ok=True)

    return fetch
