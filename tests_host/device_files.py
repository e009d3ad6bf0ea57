"""Device test files as CPython sees them: for conftest.py, which collects them, and for the runs.

A module of its own because `conftest` is the name of more than one.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from shim import World

from ivota_tools import toolchain

HERE = Path(__file__).parent
ROOT = HERE.parent
DEVICE = HERE / "device"


def device_world() -> World:
    """A world as run_micropython.py makes one: same search path, requests frozen in."""
    if "IVOTA_UMQTT" not in os.environ:  # MicroPython's runs take it from there too
        os.environ["IVOTA_UMQTT"] = str(toolchain.umqtt())
    path = ["", DEVICE, ROOT / "lib", ROOT, ".frozen", os.environ["IVOTA_UMQTT"]]
    frozen = {"requests": DEVICE / "doubles" / "requests_0_10_0.py"}
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
