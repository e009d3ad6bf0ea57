"""Find file servers to test boards against, on PATH, in Debian or on PyPI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .cache import ToolchainError, cached
from .debian import fetch_program
from .program_launch import TRIPLETS, unpacked

PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_SAYS = {"nginx": "nginx version", "apache2": "Server version", "varnishd": "varnishd"}
# Its server needs Flask. Not in the project's environment, where nothing else needs them.
MOTO = ("moto==5.2.1", "boto3==1.44.8", "flask==3.1.3", "flask-cors==6.0.5")
_PACKAGES = {"nginx": "nginx", "apache2": "apache2-bin", "varnishd": "varnish"}


def nginx() -> list[str]:
    """Return the command line of nginx. Raises ToolchainError."""
    return _found("nginx")[0]


def apache() -> tuple[list[str], Path]:
    """Return the command line of Apache, and the folder of its modules. Raises ToolchainError."""
    command, root = _found("apache2")
    return command, root / "usr/lib/apache2/modules"


def varnish() -> tuple[list[str], Path]:
    """Return the command line of Varnish, which needs a C compiler, and the folder of its modules.

    Raises ToolchainError.
    """
    command, root = _found("varnishd")
    return command, root / "usr/lib" / TRIPLETS["amd64"] / "varnish" / "vmods"


def moto() -> Path:
    """Return a folder of Python modules with moto, an object store. Raises ToolchainError."""
    return cached("moto", _fetch_moto)


def _fetch_moto(new: Path) -> None:
    command = [*(sys.executable, "-m", "pip", "install", "--quiet"), "--disable-pip-version-check"]
    done = subprocess.run([*command, "--target", str(new), *MOTO], capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"pip cannot fetch {MOTO[0]}: {done.stderr.strip()[-500:]}")


def _found(program: str) -> tuple[list[str], Path]:
    found = shutil.which(program, path=PATHS)
    if found:
        return [found], Path("/")
    root = cached(program, _fetcher(program)) / "amd64"
    return list(unpacked(root, program)), root


def _fetcher(program: str) -> Callable[[Path], None]:
    def fetch(new: Path) -> None:
        fetch_program(
            program,
            new,
            package=_PACKAGES[program],
            command=lambda folder: [*unpacked(folder, program), _option(program)],
            works=lambda done: _SAYS[program] in done.stdout + done.stderr,
        )

    return fetch


def _option(program: str) -> str:
    return "-V" if program == "varnishd" else "-v"
