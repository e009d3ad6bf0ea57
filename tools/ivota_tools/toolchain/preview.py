"""A newer MicroPython than Debian's: a preview that comes as an extension of Python.

It has 64 bits and no `ffi`. A process of Python becomes this interpreter (preview_launcher.py).
"""

from __future__ import annotations

import importlib.util
import platform
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cache import ToolchainError

LAUNCHER = Path(__file__).with_name("preview_launcher.py")
EXTENSION = "micropython_run"
# The exit code of one that ended itself; its real one stands in its control file.
_ENDED_ITSELF = 11


def command() -> list[str]:
    """The command line that starts it. Raises ToolchainError."""
    spec = importlib.util.find_spec(EXTENSION)
    if spec is None or spec.origin is None:
        raise ToolchainError("MicroPython's preview is missing: run `make setup`")
    return [sys.executable, "-I", "-S", str(LAUNCHER), spec.origin]


def is_for_this_machine() -> bool:
    """Whether there is a build of it for this system and Python (pyproject.toml)."""
    return (
        sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 15)
    )


def is_launched(argv: Sequence[str]) -> bool:
    """Whether this command line starts the launcher."""
    return str(LAUNCHER) in argv


def environment(control: Path, maps: Mapping[int, Path]) -> dict[str, str]:
    """What has the launcher map these files, address → path, and the control file.

    The control file has a page of zeros; all files are mapped whole.
    """
    lines = [str(control), *(f"{address:x} {path}" for address, path in maps.items())]
    return {"IVOTA_SIM_MEMORY": "\n".join(lines)}


def ended(code: int, control: Path) -> int:
    """How a process has really ended, with an exit code or by a signal (below zero).

    `code` is what the system says.
    """
    if code != _ENDED_ITSELF or not control.exists():
        return code
    told: int = struct.unpack("<i", control.read_bytes()[:4])[0]
    return told or -signal.SIGSEGV  # without a word it has crashed
