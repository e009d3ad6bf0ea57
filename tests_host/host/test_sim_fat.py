"""A FAT beside the board's flash, and what a flash did, written down operation by operation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivota_tools.sim import Board, operations
from ivota_tools.sim.filesystem import BLOCK

WRITE = """
import os, machine
if machine.reset_cause() == machine.PWRON_RESET and "x" not in os.listdir("/fat"):
    with open("/fat/x", "wb") as file:
        for n in range(64):
            file.write(bytes([n]) * 512)
    machine.reset()
print(os.statvfs("/fat")[0], os.stat("/fat/x")[6])
with open("/fat/x", "rb") as file:
    print(all(file.read(512) == bytes([n]) * 512 for n in range(64)))
"""


def _run(board: Board) -> list[str]:
    start = len(board.log)
    board.power_on()
    board.wait_log("^REPL$", start=start)
    board.stop()
    return [line for line in board.log[start:] if not line.startswith("sim: ")]


@pytest.mark.parametrize("bits", (32, 64))
@pytest.mark.parametrize("sector", (512, 4096))
def test_a_fat_is_made_once_and_stays(tmp_path: Path, bits: int, sector: int) -> None:
    board = Board(
        tmp_path,
        bits=bits,
        factory=False,
        files={"/main.py": WRITE.encode()},
        fat_blocks=100,
        fat_sector=sector,
    )
    board.install()
    assert board.fat
    assert _run(board) == [f"{sector} 32768", "True", "REPL"]
    made = board.fat.counts()
    # A sector of 512 bytes costs a block each time it is written, beside the table's.
    assert made["erases"] >= 32768 // sector
    assert _run(board) == [f"{sector} 32768", "True", "REPL"]
    assert board.fat.counts()["erases"] == made["erases"], "formatted again"
    assert board.listdir("/") == ["main.py"]


def test_no_fat_beside_files_on_the_host(tmp_path: Path) -> None:
    for option in ({"fat_blocks": 100}, {"record": True}):
        with pytest.raises(ValueError, match="no flash"):
            Board(tmp_path, fs="host", **option)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", (32, 64))
def test_what_was_recorded_makes_the_same_image(tmp_path: Path, bits: int) -> None:
    main = """
import _sim_record
with open("/x", "wb") as file:
    for n in range(20):
        _sim_record.received = n * 512
        file.write(bytes([n]) * 512)
"""
    board = Board(
        tmp_path, bits=bits, factory=False, files={"/main.py": main.encode()}, record=True
    )
    board.install()
    assert board.flash and board.record
    image = bytearray(board.flash.path.read_bytes())
    _run(board)
    found = list(operations(board.record))
    counts = board.flash_counts()
    assert len(found) == counts["operations"] > 80
    assert sum(each.data is None for each in found) == counts["erases"]
    received = [each.received for each in found]
    assert received == sorted(received) and received[-1] == 19 * 512
    for operation in found:
        torn = bytearray(image)
        operation.tear(torn, 1)
        operation.apply(image)
        # What is torn lies within what is done, and is less of it.
        changed = {at // BLOCK for at in range(0, len(torn), BLOCK) if torn[at] != image[at]}
        assert changed <= {operation.block}
    assert bytes(image) == board.flash.path.read_bytes()
