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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has each test of the marker `matrix` run on 32 bits and on the preview."""
    if metafunc.definition.get_closest_marker("matrix"):
        metafunc.fixturenames.insert(0, "interpreter")  # before boards are made
        metafunc.parametrize("interpreter", (32, PREVIEW), indirect=True)


@pytest.fixture
def interpreter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | str:
    """The one that boards run on which are made without `bits`; see `matrix`."""
    which: int | str = getattr(request, "param", 32)
    for_boards(which, monkeypatch)
    return which


def for_boards(which: int | str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Has boards of as many bits as returned run on it."""
    argv = command(which)
    if which != PREVIEW:
        return int(which)
    monkeypatch.setenv("MICROPYTHON", shlex.join(argv))
    monkeypatch.delenv("MICROPYTHON32", raising=False)
    return 64
