"""What deltas have been brought down to: no change may need more than this again.

`make bench-small` measures the same, beside detools, and how small the smallest heap is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ivota_workshop.bench import small
from ivota_workshop.bench.small import Work


@pytest.fixture(scope="module")
def pairs() -> dict[str, small.Pair]:
    return small.pairs()


@pytest.mark.slow
def test_a_tenth_of_the_bytes(pairs: dict[str, small.Pair]) -> None:
    figures = small.sizes(pairs)
    assert [name for name, figure in figures.items() if not figure.met] == []
    assert figures["delta_percent_image"].value <= 12.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["firmware", "image", "py", "mpy"])
def test_it_is_made_in_24_kib_of_heap(
    pairs: dict[str, small.Pair], name: str, tmp_path: Path
) -> None:
    assert Work(tmp_path, pairs[name]).runs(24_576)


@pytest.mark.slow
def test_instructions_and_erases(pairs: dict[str, small.Pair], tmp_path: Path) -> None:
    work = Work(tmp_path, pairs["firmware"])
    made, copied = work.instructions()
    assert made <= 3 * copied
    assert work.erased() <= 1.03
