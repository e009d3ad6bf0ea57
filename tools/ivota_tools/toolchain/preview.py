"""Run a newer MicroPython than Debian's: a preview packaged as a Python extension.

It has 64 bits and no `ffi`. A Python process becomes this interpreter (preview_launcher.py).
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
# The exit code of a process that killed itself; the control file has the real one.
_ENDED_ITSELF = 11


def command() -> list[str]:
    """Return the command line of the preview. Raises ToolchainError."""
    spec = importlib.util.find_spec(EXTENSION)
    if spec is None or spec.origin is None:
        raise ToolchainError("MicroPython's preview is missing: run `make setup`")
    return [sys.executable, "-I", "-S", str(LAUNCHER), spec.origin]


def is_for_this_machine() -> bool:
    """Return whether a build exists for this system and Python (pyproject.toml)."""
    return (
        sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 15)
    )


def is_launched(argv: Sequence[str]) -> bool:
    """Return whether this command line starts the launcher."""
    return str(LAUNCHER) in argv


def environment(control: Path, maps: Mapping[int, Path]) -> dict[str, str]:
    """Return the environment that makes the launcher map these files and the control file.

    `files` maps addresses to paths. The control file has one page of zeros.
    """
    lines = [str(control), *(f"{address:x} {path}" for address, path in maps.items())]
    return {"IVOTA_SIM_MEMORY": "\n".join(lines)}


def ended(code: int, control: Path) -> int:
    """Return the real exit code of a process, or the negative signal that ended it.

    `code` is the exit code reported by the system.
    """
    if code != _ENDED_ITSELF or not control.exists():
        return code
    told: int = struct.unpack("<i", control.read_bytes()[:4])[0]
    return told or -signal.SIGSEGV  # without an entry, the process has crashed
