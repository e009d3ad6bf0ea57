"""docs/extending.md: its chapters on how to add something are followed, to the letter."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from badserver import BadServer, Step
from board_support import MakeBoard
from found import some
from wire import Wire

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()

CHIP_MAIN = b"""
import json
import os

from ivota.update_client import Client

class Chip:
    def __init__(self, path):
        try:
            os.stat(path)
        except OSError:
            open(path, "wb").close()
        self.file = open(path, "r+b")
    def readblocks(self, number, buffer):
        self.file.seek(number * len(buffer))
        n = self.file.readinto(buffer)
        for i in range(n, len(buffer)):
            buffer[i] = 255
    def writeblocks(self, number, buffer):
        self.file.seek(number * len(buffer))
        self.file.write(buffer)
        self.file.flush()

def log(_level, event, **fields):
    print("ivota:", event, json.dumps(fields))

def on_firmware(firmware):
    print("app: on the chip:", firmware.version, firmware.size)
    client.update_progress("done")

with open("/ivota.json") as file:
    client = Client(json.load(file), None, on_firmware, log=log)
client.chip = Chip("/chip.img")
client.run()
"""


def followed(title: str) -> dict[str, bytes]:
    """What a chapter makes of the package: path on the board → its new content.

    The module is in the chapter, or in the example that it links to.
    """
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", PAGE, re.M | re.S)
    assert found, title
    blocks = re.findall(r"^ *```(\w+)\n(.*?)^ *```", found[1], re.M | re.S)
    blocks = [(language, textwrap.dedent(text)) for language, text in blocks]
    (name,) = re.findall(r"`(lib/ivota/\w+\.py)`[,:]", found[1])
    modules = [text for language, text in blocks if language == "python"]
    examples = re.findall(r"\(\.\./(examples/.+?)\)", found[1])
    modules += [(ROOT / path).read_text() for path in examples]
    (module,) = modules
    assert not (ROOT / name).exists()
    files = {name: module}
    for text in some(text for language, text in blocks if language == "diff"):
        for part in re.split(r"^--- ", text, flags=re.M)[1:]:
            name, _, lines = part.partition("\n")
            old = "".join(re.findall(r"^-(.*)$", lines, re.M))
            new = "\n".join(re.findall(r"^\+(.*)$", lines, re.M))
            source = files.get(name) or (ROOT / name).read_text()
            assert source.count(old) == 1, f"{name} has no line {old}"
            files[name] = source.replace(old, new)
    return {f"/{name}": text.encode() for name, text in files.items()}


def sources() -> dict[str, bytes]:
    """The package as it is; on the board it lies compiled, under the names of own()."""
    paths = (ROOT / "lib").rglob("*.py")
    return {f"/{path.relative_to(ROOT).as_posix()}": path.read_bytes() for path in paths}


@pytest.mark.slow
def test_a_target(
    agent: MakeBoard, wire: Wire, server: BadServer, firmware: Callable[..., bytes]
) -> None:
    """A download onto a chip of its own, that a cut of the link and one of the power interrupt."""
    data = firmware(300_000)
    url = server.add("/f", data, [Step(close_after=100_000)])
    files = {**sources(), **followed("How to add a target"), "/main.py": CHIP_MAIN}
    board = agent(files)
    board.power_on()
    wire.wait_version("0.1")
    server.rate = 100_000
    wire.push("0.2", url, data)
    wire.wait(lambda m: m.state == "downloading" and m.percent > 60, "more than half")
    board.power_cut()
    server.rate = None
    wire.start(board)
    wire.push("0.2", url, data)
    wire.wait_state("done")
    board.stop()
    assert "app: on the chip: 0.2 300000" in board.log
    assert board.read("/chip.img")[: len(data)] == data
    firsts = [each.first for each in server.asked("/f")]
    assert firsts[0] == 0 and 90_000 < firsts[1] <= 100_000  # nothing was lost
    assert firsts[2] % 65_536 == 0 and firsts[2] > firsts[1]


@pytest.mark.slow
def test_a_retry_policy(
    application: MakeBoard, wire: Wire, server: BadServer, firmware: Callable[..., bytes]
) -> None:
    data = firmware(20_000)
    url = server.add("/f", data, [Step(status=500)] * 5)
    files = {**sources(), **followed("How to add a retry policy")}
    retry = {"policy": "steady", "first_s": 0.2, "most_s": 60, "job_tries": 8}
    board = application(files, retry=retry)
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", url, data)
    wire.wait_state("done")
    waits = [int(n) for n in re.findall(r'retry .*"again_ms": (\d+)', "\n".join(board.log))]
    assert len(waits) == 5 and max(waits) <= 200 and min(waits) >= 90
