"""Every device test file on each unix MicroPython (interpreters.py): the tests that ran are those
of CPython."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import interpreters
import pytest
from device_files import DEVICE, HERE, ROOT, device_tests, load_device_file, skips
from waiting import unit_s

FILES = sorted(DEVICE.glob("test_*.py"))
PLACES = {"cpython", "unix64", "unix32", interpreters.PREVIEW}
# The tests hold whole firmwares in memory; what a board has is measured elsewhere.
HEAP = ("-X", "heapsize=8M")


def run(argv: list[str], test_s: float) -> tuple[str, str]:
    """What it printed, and how it ended; killed once it has printed nothing for so long."""
    output = b""
    hangs = threading.Event()

    def end() -> None:
        hangs.set()
        process.kill()

    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        try:
            line = b"\n"
            while line:
                timer = threading.Timer(test_s, end)
                timer.start()
                line = process.stdout.readline()
                timer.cancel()
                output += line
            status = process.wait(test_s)
        finally:
            process.kill()
    ended = (
        f"killed: a test takes more than {test_s:g} s"
        if hangs.is_set()
        else f"exit status {status}"
    )
    return output.decode(errors="replace"), ended


@pytest.mark.parametrize("which", interpreters.EACH)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_same_tests_on_micropython(
    path: Path, which: int | str, count_device_tests: Callable[[str, int], None]
) -> None:
    module = load_device_file(path)  # first, for it sets what the interpreter's run takes
    argv = [*interpreters.command(which), *HEAP, str(HERE / "run_micropython.py"), str(path)]
    output, ended = run(argv, unit_s())
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


def test_a_test_that_hangs_is_killed() -> None:
    for hangs in ("while True: pass", "import time; time.sleep(1000)"):
        _, ended = run([*interpreters.command(32), "-c", hangs], 1)
        assert ended.startswith("killed"), hangs


def test_every_exception_has_a_reason() -> None:
    listed = {path: getattr(load_device_file(path), "SKIP_ON", {}) for path in FILES}
    assert any(listed.values())
    for path, tests in listed.items():
        for name, (places, reason) in tests.items():
            assert set(places.split()) <= PLACES, (path.name, name)
            assert len(reason) > 10, (path.name, name)
