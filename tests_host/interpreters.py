"""The interpreters that tests run on: Debian's with 32 and 64 bits, and a newer one, a preview."""

from __future__ import annotations

import shlex

import pytest

from ivota_tools import toolchain
from ivota_tools.toolchain import preview

PREVIEW = "preview"
EACH = (32, 64, PREVIEW)


def command(which: int | str) -> list[str]:
    """The command line that starts it. Skips the test where this machine can have no preview."""
    if which != PREVIEW:
        return toolchain.micropython(int(which))
    if not preview.is_for_this_machine():
        pytest.skip("this machine has no build of MicroPython's preview")
    return toolchain.micropython_preview()


def for_boards(which: int | str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Has boards of as many bits as returned run on it."""
    argv = command(which)
    if which != PREVIEW:
        return int(which)
    monkeypatch.setenv("MICROPYTHON", shlex.join(argv))
    monkeypatch.delenv("MICROPYTHON32", raising=False)
    return 64
