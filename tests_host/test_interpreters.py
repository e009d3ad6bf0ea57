"""Every device test file on each unix MicroPython (interpreters.py): the tests that ran are those
of CPython."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import interpreters
import pytest
from device_files import DEVICE, HERE, ROOT, device_tests, load_device_file, skips

FILES = sorted(DEVICE.glob("test_*.py"))
TIMEOUT_S = 120
PLACES = {"cpython", "unix64", "unix32", interpreters.PREVIEW}
# The tests hold whole firmwares in memory; what a board has is measured elsewhere.
HEAP = ("-X", "heapsize=8M")


@pytest.mark.parametrize("which", interpreters.EACH)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_tests_on_micropython(
    path: Path, which: int | str, count_device_tests: Callable[[str, int], None]
) -> None:
    module = load_device_file(path)  # first, for it sets what the interpreter's run takes
    argv = [*interpreters.command(which), *HEAP, str(HERE / "run_micropython.py"), str(path)]
    try:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            text=True,
            errors="replace",
        )
        output = done.stdout
        ended = f"exit status {done.returncode}"
    except subprocess.TimeoutExpired as expired:
        # Bytes in spite of text=True, on some versions.
        caught = expired.stdout or b""
        output = caught.decode(errors="replace") if isinstance(caught, bytes) else caught
        ended = f"killed after {TIMEOUT_S} s"
    ran = {
        word: re.findall(rf"^{word} \w+::(\w+)", output, re.MULTILINE)
        for word in ("PASS", "FAIL", "SKIP")
    }
    count_device_tests(f"micropython-{which}", len(ran["PASS"]))

    everywhere = set(device_tests(module))
    listed = skips(module, which if which == interpreters.PREVIEW else f"unix{which}")
    assert set(listed) <= everywhere, "SKIP_ON names a test that is not there"
    assert not ran["FAIL"] and ended == "exit status 0", f"{ended}\n{output}"
    assert sorted(ran["SKIP"]) == sorted(listed), output
    assert sorted(ran["PASS"]) == sorted(everywhere - set(listed)), output


def test_every_exception_has_a_reason() -> None:
    for path in FILES:
        for name, (places, reason) in getattr(load_device_file(path), "SKIP_ON", {}).items():
            assert set(places.split()) <= PLACES, (path.name, name)
            assert len(reason) > 10, (path.name, name)
