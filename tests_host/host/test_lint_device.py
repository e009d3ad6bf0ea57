"""The check of device code finds what a board would fail on, and passes what runs there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivota_tools.common.project_files import CHECKOUT
from ivota_workshop import device_lint

GOOD = """\
import hashlib, machine, os, time
from micropython import const
from ours import number

_LATER = const(number)
socket = None


def later(pin, stream=None):
    if stream is not None:
        stream.read(_LATER)
    due = time.ticks_add(time.ticks_ms(), 100)
    machine.Pin(pin).value(1)
    return time.ticks_diff(due, time.ticks_ms()) > 0 and os.stat("/")[6], hashlib.md5().digest()
"""

PLANTED = {
    "machine.reset()": "machine.resett()",
    "os.stat('x')": "os.path.exists('x')",
    "errno.EIO": "errno.EROFS",
    "number + 1": "numbers",
    "ivota.once": "ivota.onec",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib" / "ivota").mkdir(parents=True)
    (tmp_path / "lib" / "ours.py").write_text("number = 1\n")
    package = Path("lib", "ivota", "__init__.py")
    (tmp_path / package).write_bytes((CHECKOUT / package).read_bytes())
    return tmp_path


def test_what_runs_on_a_board_passes(folder: Path) -> None:
    (folder / "main.py").write_text(GOOD)
    assert device_lint.check(["lib", "main.py"], folder=folder) == []


def test_what_no_board_has_is_an_error(folder: Path) -> None:
    head = "import errno, hashlib, ivota, machine, os\nfrom ours import number\n\n\ndef work(x):\n"
    for name, lines in (("good.py", PLANTED.keys()), ("bad.py", PLANTED.values())):
        (folder / name).write_text(head + "".join(f"    print({line})\n" for line in lines))
    errors = device_lint.check(["good.py", "bad.py"], folder=folder)
    assert [error.partition(": ")[0] for error in errors] == [
        f"bad.py:{line}" for line in range(6, 6 + len(PLANTED))
    ]


def test_a_run_that_fails_is_not_taken_for_a_clean_one(folder: Path) -> None:
    (folder / "main.py").write_text("def :\n")
    with pytest.raises(RuntimeError, match="main.py:1"):
        device_lint.check(["main.py"], folder=folder)
