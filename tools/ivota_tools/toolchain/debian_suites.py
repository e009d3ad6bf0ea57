"""Find a Debian mirror, and try suites until one has the packages."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .apt import AptError
from .cache import ToolchainError, cache_dir, say

# Debian 12 has no micropython; these are tried in turn, newest last.
SUITES = ("trixie", "forky", "sid")
# A mirror fails for a while during its own update: retry all suites.
PAUSES_S = (2, 10)


def from_any_suite(
    program: str,
    variables: str | None,
    new: Path,
    attempt: Callable[[str, str], None],
    suites: Sequence[str] = SUITES,
) -> None:
    """Call `attempt(mirror, suite)` until one succeeds. Raises ToolchainError.

    `variables` are the environment variables that can specify the program.
    """
    advice = f"install {program} and put it on PATH"
    if variables:
        advice += f", or set {variables.replace('=', '')}"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        where = f"{sys.platform} on {platform.machine()}"
        raise ToolchainError(
            f"{program} can be downloaded only for Linux on amd64, not for {where}: {advice}"
        )
    for tool in ("apt-get", "dpkg"):
        if not shutil.which(tool):
            raise ToolchainError(
                f"{program} is missing, and cannot be downloaded without {tool}: {advice}"
            )
    mirror = _mirror(advice)
    say(f"downloading {program} once into {cache_dir()}")
    with _spinner(f"fetching {program}"):
        _try_suites(program, advice, new, attempt, suites, mirror)


@contextlib.contextmanager
def _spinner(what: str) -> Iterator[None]:
    """Show the elapsed time on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what)
        yield


def _try_suites(
    program: str,
    advice: str,
    new: Path,
    attempt: Callable[[str, str], None],
    suites: Sequence[str],
    mirror: str,
) -> None:
    reasons: dict[str, str] = {}
    for pause_s in (0, *PAUSES_S):
        time.sleep(pause_s)
        for suite in suites:
            try:
                return attempt(mirror, suite)
            except (AptError, ToolchainError) as error:
                reasons[suite] = str(error)
                for left in new.iterdir():
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
    told = "\n".join(f"  {suite}: {reason}" for suite, reason in reasons.items())
    raise ToolchainError(f"cannot download {program}:\n{told}\nTry again later, or {advice}.")


def _mirror(advice: str) -> str:
    """Return the Debian mirror of this machine's apt. Raises ToolchainError."""
    named = os.environ.get("IVOTA_DEBIAN_MIRROR")
    if named:
        return named
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(COMPONENT)",
            "Created-By: Packages",
        ],
        capture_output=True,
        text=True,
    )
    found = [line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" main")]
    for uri in found:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise ToolchainError(
        "apt on this machine has no Debian mirror configured: set IVOTA_DEBIAN_MIRROR, "
        f"or {advice}"
    )


def own_suite() -> str:
    """Return the code name of this machine's release."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME" and value:
            return value.strip("\"'")
    return "sid"  # Debian's testing and unstable have no number, and some no name
