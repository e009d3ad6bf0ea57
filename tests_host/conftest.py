"""Collects device tests: plain functions that run in a world of MicroPython's modules (shim/).

Each file gets a world of its own, as each gets an interpreter of its own on MicroPython. Nothing
of the host is patched, so host, system and device tests share one session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ivota_tools import toolchain

HERE = Path(__file__).parent
ROOT = HERE.parent
DEVICE = HERE / "device"
INTERPRETERS = ("cpython", "micropython-64", "micropython-32")

sys.path.insert(0, str(HERE))

from shim import World  # noqa: E402


def device_world() -> World:
    """A world as run_micropython.py makes one: same search path, requests frozen in."""
    if "IVOTA_UMQTT" not in os.environ:  # MicroPython's runs take it from there too
        os.environ["IVOTA_UMQTT"] = str(toolchain.umqtt())
    path = ["", DEVICE, ROOT / "lib", ROOT, ".frozen", os.environ["IVOTA_UMQTT"]]
    frozen = {"requests": DEVICE / "doubles" / "requests_0_10_2.py"}
    return World([str(place) for place in path], frozen)


def load_device_file(path: Path) -> ModuleType:
    return device_world().test_file(path)


def device_tests(module: ModuleType) -> list[str]:
    """Names of the tests in a device test file, in the order of their lines."""
    names = [name for name in vars(module) if name.startswith("test_")]
    return sorted(names, key=lambda name: vars(module)[name].__code__.co_firstlineno)


def skips(module: ModuleType, where: str) -> dict[str, str]:
    """The tests that the file lists as not for `where`, with the reasons it gives."""
    listed = getattr(module, "SKIP_ON", {})
    return {name: reason for name, (places, reason) in listed.items() if where in places.split()}


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
