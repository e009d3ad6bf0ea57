"""`make soak-load`: what is run under load, how often, and what is said of failures."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console
from waiting import is_running

from ivota_workshop import load

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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "tests_host").mkdir()
    (tmp_path / "tests_host" / "test_it.py").write_text(TESTS)
    (tmp_path / "tests_host" / "test_plain.py").write_text("def test_plain():\n    pass\n")
    (tmp_path / "tests_host" / "test_broken.py").write_text("no python")
    for name in ("boot.py", "main.py"):
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['waits: x']\n")
    return tmp_path


def soak(checkout: Path) -> tuple[load.Soak, io.StringIO]:
    said = io.StringIO()
    console = Console(file=said, width=200)
    return load.Soak(checkout, checkout / "build", "tests_host", 1, console, 0), said


@pytest.mark.slow
def test_what_waits_is_run_again_and_each_failure_is_said(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    it, said = soak(checkout)
    it.run(time.monotonic() + 600)
    assert sorted((checkout / "runs").read_text().split()) == ["quick", "slow", "slow"]
    failed = {(number, test.split(".")[-1]): why for number, test, why in it.failures}
    assert sorted(number for number, test in failed if "test_broken" in test) == ["0", "1"]
    assert len(failed) == 3 and "luck" in failed["1", "test_it::test_slow"]
    assert "test_it.py  1 tests, 1 failed" in said.getvalue() and "luck" in said.getvalue()
    assert "luck" in (checkout / "build" / "1-tests_host-test_it.py.txt").read_text()
    assert not it.left
    # What is done is not done again, until the code changes.
    again, _ = soak(checkout)
    assert again.left == [] and again.failures == it.failures
    (checkout / "main.py").write_text("pass\n")
    assert len(soak(checkout)[0].left) == len(it.parts) == 6


def test_it_ends_when_its_time_is_over(checkout: Path) -> None:
    it, _ = soak(checkout)
    it.run(time.monotonic())
    assert it.left == it.parts


def test_what_is_busy_ends() -> None:
    with load.busy(2) as processes:
        pids = [process.pid for process in processes]
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
