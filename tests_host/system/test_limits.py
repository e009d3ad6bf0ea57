"""What a download has been brought down to: no change may need more than this again.

The figures themselves are measured by `make bench-download` and `make bench-trust`; a limit here
is lowered with them.
"""

from __future__ import annotations

from ivota_tools.bench import trust
from ivota_tools.bench.download import heap

HEAP_BYTES = 35_328  # 32 bits, in which a whole update must succeed
SIGNED_HEAP_BYTES = 35_840  # the same of a board that takes only what is signed
MPY_BYTES = 33_400


def test_a_whole_update_in_a_small_heap():
    """Push, a download that is cut and resumed, MD5, hand-over, trial, `done`: on 32 bits."""
    with heap.Lanes.open(heap.SIZE, number=1) as lanes:
        outcome = lanes.update(HEAP_BYTES)
    assert not outcome.wrong, "\n".join(outcome.log)


def test_a_whole_signed_update_in_a_small_heap():
    with trust.lanes(1) as lanes:
        outcome = lanes.update(SIGNED_HEAP_BYTES)
    assert not outcome.wrong, "\n".join(outcome.log)


def test_the_code_that_a_plain_update_loads():
    sizes = heap.loaded()
    assert "main.py" in sizes and "lib/ivota/client.py" in sizes
    assert sum(sizes.values()) <= MPY_BYTES, sizes
