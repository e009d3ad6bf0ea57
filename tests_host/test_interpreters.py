"""Every device test file on unix MicroPython, 64 and 32 bits: the tests that ran are CPython's."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from device_files import DEVICE, HERE, ROOT, device_tests, load_device_file, skips

from ivota_tools import toolchain

FILES = sorted(DEVICE.glob("test_*.py"))
TIMEOUT_S = 120
# The tests hold whole firmwares in memory; what a board has is measured elsewhere.
HEAP = ("-X", "heapsize=8M")


@pytest.mark.parametrize("bits", (64, 32))
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_tests_on_micropython(
    path: Path, bits: int, count_device_tests: Callable[[str, int], None]
) -> None:
    module = load_device_file(path)  # first, for it sets what the interpreter's run takes
    argv = [*toolchain.micropython(bits), *HEAP, str(HERE / "run_micropython.py"), str(path)]
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
    count_device_tests(f"micropython-{bits}", len(ran["PASS"]))

    everywhere = set(device_tests(module))
    listed = skips(module, f"unix{bits}")
    assert set(listed) <= everywhere, "SKIP_ON names a test that is not there"
    assert not ran["FAIL"] and ended == "exit status 0", f"{ended}\n{output}"
    assert sorted(ran["SKIP"]) == sorted(listed), output
    assert sorted(ran["PASS"]) == sorted(everywhere - set(listed)), output


def test_every_exception_has_a_reason() -> None:
    for path in FILES:
        for name, (places, reason) in getattr(load_device_file(path), "SKIP_ON", {}).items():
            assert set(places.split()) <= {"cpython", "unix64", "unix32"}, (path.name, name)
            assert len(reason) > 10, (path.name, name)
