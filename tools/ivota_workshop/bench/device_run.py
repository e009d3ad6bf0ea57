"""Run a script on MicroPython, by default 32-bit, with ivota and umqtt in its path."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.toolchain import micropython, umqtt

LIBRARY = CHECKOUT / "lib"


def start(
    script: Path, *args: str, heap: str | None = None, interpreter: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a script; `heap` has the syntax of `-X heapsize`."""
    command = list(interpreter) or micropython(32)
    if heap:
        command = [*command, "-X", f"heapsize={heap}"]
    return subprocess.Popen(
        [*command, str(script), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MICROPYPATH": f".frozen:{LIBRARY}:{umqtt()}"},
    )


def measure(name: str, *args: str, timeout_s: float) -> dict[str, Any]:
    """Return the last line that the script device/NAME prints. Raises RuntimeError if it fails."""
    with start(Path(__file__).parent / "device" / name, *args) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RuntimeError(f"{name} was still running after {timeout_s:g} s") from None
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{output}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found
