"""Download missing tools and list the tools in use (`python -m ivota_tools.toolchain`)."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence

from . import (
    ToolchainError,
    micropython,
    micropython_preview,
    mosquitto,
    mpy_cross,
    preview,
    umqtt,
)
from .archives import UMQTT
from .program_launch import probe


def main(arguments: Sequence[str] = ()) -> int:
    """Download missing tools and list the tools in use; `--all` includes the tests' tools."""
    if set(arguments) - {"--all"}:
        print("usage: python -m ivota_tools.toolchain [--all]", file=sys.stderr)
        return 2
    try:
        commands = [micropython(64), micropython(32)]
        if "--all" in arguments and preview.is_for_this_machine():
            commands.append(micropython_preview())
        for command in commands:
            bits, version = probe(tuple(command)) or ("?", "?")
            print(f"micropython, {bits} bits: {version}: {shlex.join(command)}")
        print(f"mosquitto: {_mosquitto_version()}: {shlex.join(mosquitto())}")
        print(f"umqtt.simple: {UMQTT.rpartition('=')[2]}: {umqtt()}")
        if "--all" in arguments:
            done = subprocess.run([*mpy_cross(), "--version"], capture_output=True, text=True)
            print(f"mpy-cross: {done.stdout.strip()}: {shlex.join(mpy_cross())}")
    except ToolchainError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    return 0


def _mosquitto_version() -> str:
    done = subprocess.run([*mosquitto(), "-h"], capture_output=True, text=True)
    first = (done.stdout.splitlines() or [""])[0]  # "mosquitto version 2.0.21"
    return first.rpartition(" ")[2] or "?"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
