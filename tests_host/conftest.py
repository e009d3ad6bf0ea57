"""Collects device tests: plain functions that run in a world of MicroPython's modules (shim/).

Each file gets a world of its own, as each gets an interpreter of its own on MicroPython. Nothing
of the host is patched, so host, system and device tests share one session.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from device_files import DEVICE, HERE, device_tests, load_device_file, skips
from waiting import unit_s

# rich reads it once, when a command is imported; each test says how wide its terminal is.
os.environ.pop("COLUMNS", None)

# A shell that starts the tests in the background has it ignored, and so would each child.
signal.signal(signal.SIGINT, signal.default_int_handler)

INTERPRETERS = ("cpython", "micropython-64", "micropython-32", "micropython-preview")


# What a file has whose tests wait in real time, for other threads, processes and peers.
WAITS = re.compile(r"\bwait_|\.wait\(|\bsleep\(|\.expect\(|Board\(|\bCloud\(|timeout=")


class DeviceFile(pytest.File):
    def collect(self) -> Iterator[DeviceTest]:
        module = load_device_file(self.path)
        listed = skips(module, "cpython")
        for name in device_tests(module):
            item = DeviceTest.from_parent(self, name=name, function=vars(module)[name])
            if name in listed:
                item.add_marker(pytest.mark.skip(reason=listed[name]))
            yield item


class DeviceTest(pytest.Item):
    def __init__(self, *, function: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.user_properties.append(("cpython", 1))

    def runtest(self) -> None:
        self.function()

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.function.__code__.co_firstlineno - 1, self.name

    def _traceback_filter(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        return excinfo.traceback.cut(path=self.path)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    if module_path.parent == DEVICE:
        return DeviceFile.from_parent(parent, path=module_path)
    return None


@functools.cache
def waits(path: Path) -> bool:
    return path.parent.name == "system" or WAITS.search(path.read_text()) is not None


RUNS = HERE / "test_interpreters.py"


def named_device_files(config: pytest.Config) -> set[Path]:
    """The device test files that the command line names, by themselves or by their folder."""
    named = [config.invocation_params.dir / each.partition("::")[0] for each in config.args]
    files = {path for path in named if path.parent == DEVICE}
    return files | set(DEVICE.glob("test_*.py")) if DEVICE in named else files


def pytest_configure(config: pytest.Config) -> None:
    """Run named device tests on MicroPython, too."""
    if named_device_files(config) and str(RUNS) not in config.args:
        config.args.append(str(RUNS))


def choose_runs(items: list[pytest.Item], named: set[Path]) -> list[pytest.Item]:
    """Of the runs on MicroPython, keep those of named files; `-k` finds them by their tests."""
    kept = []
    for item in items:
        path = item.callspec.params.get("path") if hasattr(item, "callspec") else None
        if item.path == RUNS and named and path not in named:
            continue
        if item.path == RUNS and path:
            item.extra_keyword_matches.update(
                re.findall(r"^def (test_\w+)", path.read_text(), re.M)
            )
        kept.append(item)
    return kept


@pytest.hookimpl(tryfirst=True)  # before markers choose
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what waits."""
    items[:] = choose_runs(items, named_device_files(config))
    for item in items:
        if not isinstance(item, DeviceTest) and waits(item.path):
            item.add_marker(pytest.mark.waits)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-timeout reads the marker
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Ends a test that hangs, though it waits for nothing."""
    if not (item.get_closest_marker("waits") or item.get_closest_marker("slow")):
        item.add_marker(pytest.mark.timeout(unit_s()))
    return (yield)


@pytest.fixture
def count_device_tests(request: pytest.FixtureRequest) -> Any:
    """Call with an interpreter's name and a number of tests that passed on it."""

    def count(interpreter: str, number: int) -> None:
        request.node.user_properties.append((interpreter, number))

    return count


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # The numbers travel with the reports, so that they arrive from parallel workers too.
    numbers = dict.fromkeys(INTERPRETERS, 0)
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get(
        "failed", []
    ):
        for name, number in report.user_properties:
            if name in numbers and (report.passed or name != "cpython"):
                numbers[name] += number
    if any(numbers.values()):
        parts = ", ".join(f"{name} {number}" for name, number in numbers.items())
        terminalreporter.write_line(f"device tests: {parts}")
