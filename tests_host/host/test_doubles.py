"""What stands for the esp32 port says which of its functions it stands for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ivota_tools.sim.board import DEVICE as SIM

ROOT = Path(__file__).parents[2]
DOUBLES = ROOT / "tests_host" / "device" / "doubles"
MODULES = sorted(each.name for each in SIM.glob("*.py"))
FILES = [*sorted(DOUBLES.glob("fake*.py")), SIM / "esp32.py", SIM / "machine.py"]
# A file of MicroPython or of ESP-IDF, with its folder.
SOURCE = re.compile(r"\b(ports|extmod|py|bootloader_support)/[\w/]+\.[ch]\b")
# Made for tests alone: no port has them.
OURS = {"Hang", "FakeEsp32", "Uart", "Machine", "_Ppps"}
# What the simulator is made of: how its processes are started, die and are recorded.
SIMULATOR = {"_sim_host_folder.py", "_sim_mount.py", "_sim_record.py", "ffi.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_double_names_its_source(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    module = ast.parse(text)
    named = []
    for node in module.body:
        if not isinstance(node, ast.ClassDef) or node.name in OURS:
            continue
        first = node.lineno - 1
        while first and lines[first - 1].startswith("#"):  # what is written above it
            first -= 1
        about = "\n".join(lines[first : node.lineno]) + (ast.get_docstring(node) or "")
        inside = "\n".join(lines[node.lineno : node.end_lineno])
        assert SOURCE.search(about + inside), f"{node.name} does not say what it stands for"
        named.append(node.name)
    assert named


@pytest.mark.parametrize("name", MODULES)
def test_each_module_of_a_simulated_board_names_its_source(name: str) -> None:
    assert (SOURCE.search((SIM / name).read_text()) is None) == (name in SIMULATOR)
