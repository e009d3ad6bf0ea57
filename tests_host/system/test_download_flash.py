"""What a download costs the flash: erases, what a power cut loses, and no allocation at all.

`make bench-download` measures the same, and more of it.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from ivota_workshop.bench.download import flash, soak
from ivota_workshop.bench.download.flash import SEGMENT_RATE, SIZE, Stage, stage
from ivota_workshop.bench.download.plan import KINDS, plan
from ivota_workshop.bench.download.stage import Answer, update_firmware

BLOCKS = -(-SIZE // 4096)


@pytest.fixture
def it(tmp_path: Path):
    with stage(tmp_path) as made:
        yield made


@pytest.mark.matrix
def test_hardly_more_erases_than_blocks(it: Stage) -> None:
    assert flash.erased(it, SIZE) <= 1.03 * BLOCKS


@pytest.mark.matrix
def test_on_fat_a_block_and_its_entry_in_the_table(it: Stage) -> None:
    assert flash.erased(it, SIZE, fat_sync=64) <= 2.15 * BLOCKS


@pytest.mark.matrix
@pytest.mark.parametrize("before", (70_000, 400_000))
def test_on_fat_at_most_64_kib_are_lost(it: Stage, before: int) -> None:
    data = flash.firmware(SIZE)
    it.origin.serve(data, [Answer(ends_after=before, end="silence")])
    push = update_firmware("0.2", it.origin.url(), data)
    options = {"fat_blocks": 256, "config": {"firmware_dir": "/fat/firmware"}}
    with it.board("download.py", **options) as board, it.cloud(board) as cloud:
        board.power_on()
        cloud.wait_version("0.1")
        cloud.push(push)
        board.wait_log("download offset=0")
        assert board.fat
        seen = []
        # All that was sent has come in when nothing is written any more.
        while len(seen) < 10 or seen[-1] < before // 4096 or seen[-10] != seen[-1]:
            seen.append(board.fat.counts()["programs"])
            time.sleep(0.05)
        board.power_cut()
        start = len(board.log)
        board.power_on()
        cloud.wait_version("0.1", cloud.heard)
        cloud.push(push)
        offset = int(board.wait_log(r"download offset=(\d+)", start=start)[1])
        assert offset == before // 65_536 * 65_536
        board.wait_log(f"app: has 0.2 {push['md5sum']}")
        assert it.origin.requests[-1].first == offset


@pytest.mark.matrix
@pytest.mark.slow
def test_a_power_cut_loses_no_whole_block(it: Stage) -> None:
    """Before and in the midst of every operation of the flash; some go on to the end."""
    size = 100_000
    cuts = flash.cut_everywhere(it, size)
    assert len(cuts.operations) > 800
    assert 0 <= min(cuts.lost) and max(cuts.lost) <= 4096
    assert cuts.offsets[0] == (0, 0) and cuts.offsets[-1] == (size,)
    assert flash.resume(it, cuts, size, 4) == 4


@pytest.mark.parametrize("bits", (32, 64))
@pytest.mark.parametrize("rate", (0, SEGMENT_RATE), ids=("bulk", "segments"))
def test_nothing_is_allocated(it: Stage, bits: int, rate: int) -> None:
    held = flash.locked(it, 2 * SIZE, bits, rate)
    assert sum(blocks for blocks, _ in held) >= 100, held


def test_the_soak_has_what_it_promises() -> None:
    plans = [plan(1, number) for number in range(1, soak.UPDATES + 1)]
    assert plans == [plan(1, number) for number in range(1, soak.UPDATES + 1)]
    assert all(len(each.kinds) >= 2 for each in plans)
    assert all(len(each.answers) + len(each.links) == len(each.kinds) for each in plans)
    assert sum(each.power is not None for each in plans) == soak.UPDATES // 3
    assert {kind for each in plans for kind in each.kinds} == set(KINDS)


@pytest.mark.slow
def test_updates_of_the_soak(tmp_path: Path) -> None:
    made = soak.Soak(tmp_path, seed=1, updates=4)
    console = Console(quiet=True)
    made.run(console, boards=2, minutes=5)
    assert not made.left()
    assert {each.ended for each in made.results.values()} == {"done"}
    assert sum(each.power_cuts for each in made.results.values()) == 1
    # What was done is done: another run of the same has nothing left.
    assert soak.Soak(tmp_path, seed=1, updates=4).left() == []
    assert "4 `done`, 0 with wrong bytes" in soak.summary(1, list(made.results.values()))
