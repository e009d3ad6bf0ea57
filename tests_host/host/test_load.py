"""`make soak-load`: what is run under load, how often, and what is said of failures."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from waiting import is_running, wait_until

from ivota_workshop.load import __main__ as load
from ivota_workshop.load import journal
from ivota_workshop.load.processes import busy

# Each run leaves a line; the second of what waits fails, as luck would have it.
TESTS = """
from pathlib import Path
import pytest

RUNS = Path(__file__).parents[1] / "runs"

def run(name):
    with RUNS.open("a") as file:
        file.write(name + "\\n")
    return RUNS.read_text().split().count(name)

def test_quick():
    run("quick")

@pytest.mark.waits
def test_slow():
    assert run("slow") != 2, "luck"
"""
# A test that waits for ever for a process in a group of its own, and one that had ended before.
HANGS = """
import subprocess, sys
from pathlib import Path

def test_before():
    pass

def test_hangs():
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    child = subprocess.Popen(command, start_new_session=True)
    (Path(__file__).parents[1] / "pid").write_text(str(child.pid))
    child.wait()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "tests_host").mkdir()
    (tmp_path / "tests_host" / "test_it.py").write_text(TESTS)
    for name in ("boot.py", "main.py"):
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['waits: x']\n")
    return tmp_path


def soak(checkout: Path, keep_passed: bool = False) -> tuple[load.Soak, io.StringIO]:
    said = io.StringIO()
    console = Console(file=said, width=200)
    folder = checkout / "build"
    return load.Soak(checkout, folder, "tests_host", 1, console, 0, keep_passed), said


def runs(checkout: Path) -> list[str]:
    return sorted((checkout / "runs").read_text().split())


@pytest.mark.slow
def test_what_waits_is_run_again_and_each_failure_is_said(checkout: Path) -> None:
    (checkout / "tests_host" / "test_broken.py").write_text("no python")
    it, said = soak(checkout)
    it.run(time.time() + 600, 0)
    assert runs(checkout) == ["quick", "slow", "slow"] and not it.left
    failed = {(note.round, note.test.split("::")[-1]): note.why for note in it.failures}
    assert set(failed) == {
        (0, "tests_host/test_broken.py"),
        (1, "tests_host/test_broken.py"),
        (1, "test_slow"),
    }
    assert "luck" in failed[1, "test_slow"]
    assert it.report() == 1
    assert f"round 0: ended: 2 passed on {it.tree}, 1 failed" in said.getvalue()
    assert "test_slow: AssertionError: luck" in said.getvalue()

    # What has been done on this tree is not done again there, however it ended.
    again, _ = soak(checkout)
    again.run(time.time() + 600, 0)
    assert again.left == [] and again.failures == it.failures
    assert len(runs(checkout)) == 3

    # Where the code has changed, only what has not passed is run again, if that is wanted.
    (checkout / "tests_host" / "test_broken.py").write_text("")
    assert soak(checkout)[0].left == [0, 1]
    mended, said = soak(checkout, keep_passed=True)
    mended.run(time.time() + 600, 0)
    assert runs(checkout) == ["quick", "slow", "slow", "slow"]
    assert mended.report() == 0
    assert f"round 0: ended: 2 passed on {it.tree}, 0 failed" in said.getvalue()
    assert f"round 1: ended: 1 passed on {mended.tree}, 0 failed" in said.getvalue()


def test_no_test_begins_when_its_time_is_over(checkout: Path) -> None:
    it, _ = soak(checkout)
    it.run(time.time(), 0)
    assert it.left == [0, 1]

    # Nor when it ends while tests run.
    (checkout / "done").write_text("")
    given = journal.Given(
        str(checkout / "notes"), str(checkout / "done"), "a tree", 0, time.time()
    )
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", journal.__name__],
        cwd=checkout,
        env={**os.environ, **given.environment()},
        check=True,
    )
    assert not (checkout / "runs").exists() and journal.read(checkout / "notes") == []


def test_a_soak_that_is_ended_leaves_no_process_and_goes_on_with_the_next_test(
    checkout: Path,
) -> None:
    (checkout / "tests_host" / "test_it.py").write_text(HANGS)
    program = (
        "import sys; from pathlib import Path; from ivota_workshop.load import __main__ as load;"
        f"load.CHECKOUT = Path({str(checkout)!r}); load.FOLDER = load.CHECKOUT / 'build';"
        "sys.argv[1:] = ['--busy=1', '--workers=1', '--rounds=0']; load.main()"
    )
    pid = checkout / "pid"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            child = int(wait_until(lambda: pid.exists() and pid.read_text(), "a test that hangs"))
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 128 + signal.SIGTERM
            assert not is_running(child)
        finally:
            process.kill()
    it, _ = soak(checkout)
    assert [test.split("::")[-1] for test in it.notes(0)] == ["test_before"]


def test_a_note_that_a_kill_has_cut_off_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    note = journal.Note("a tree", 0, "a test", "", 1.5)
    journal.write(path, note)
    path.write_text(path.read_text() + "\n" + json.dumps({"tree": "a"})[:-1])
    journal.write(path, note)
    assert journal.read(path) == [note, note]


def test_what_is_busy_ends() -> None:
    with busy(2) as processes:
        pids = [process.pid for process in processes]
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
