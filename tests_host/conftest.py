"""Collects device tests: plain functions that run in a world of MicroPython's modules (shim/).

Each file gets a world of its own, as each gets an interpreter of its own on MicroPython. Nothing
of the host is patched, so host, system and device tests share one session.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from device_files import DEVICE, device_tests, load_device_file, skips

INTERPRETERS = ("cpython", "micropython-64", "micropython-32")


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


ran = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ran] = dict.fromkeys(INTERPRETERS, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if isinstance(item, DeviceTest) and report.when == "call" and report.passed:
        item.config.stash[ran]["cpython"] += 1
    return report


@pytest.fixture
def count_device_tests(request: pytest.FixtureRequest) -> Any:
    """Call with an interpreter's name and a number of tests that passed on it."""

    def count(interpreter: str, number: int) -> None:
        request.config.stash[ran][interpreter] += number

    return count


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    numbers = config.stash[ran]
    if any(numbers.values()):
        parts = ", ".join(f"{name} {number}" for name, number in numbers.items())
        terminalreporter.write_line(f"device tests: {parts}")
