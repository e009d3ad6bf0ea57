"""What a download has been brought down to: no change may need more than this again.

The figures themselves are measured by `make bench-download` and `make bench-trust`; a limit here
is lowered with them.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.toolchain import micropython
from ivota_workshop.bench import trust
from ivota_workshop.bench.download import code, heap

# 32 bits, in which a whole update must succeed. In a heap smaller by 2 KB, some updates fail: the
# heap has enough free bytes, but not in one piece. At these sizes, none of 64 failed.
HEAP_BYTES = 49_152
SIGNED_HEAP_BYTES = 52_224  # the same of a board that takes only what is signed
MPY_BYTES = 51_760
# Of a larger one MicroPython takes the frame from the heap, while it is not locked.
FRAME_WORDS = 11
HANDLER_WORDS = 3  # of them, for each level of `try`


def test_a_whole_update_in_a_small_heap():
    """Push, a download that is cut and resumed, MD5, hand-over, trial, `done`: on 32 bits."""
    with heap.Lanes.open(heap.SIZE, number=1) as lanes:
        outcome = lanes.update(HEAP_BYTES)
    assert not outcome.wrong, "\n".join(outcome.log)


def test_a_whole_signed_update_in_a_small_heap():
    with trust.lanes(1) as lanes:
        outcome = lanes.update(SIGNED_HEAP_BYTES)
    assert not outcome.wrong, "\n".join(outcome.log)
    assert "ivota: signed sequence=1" in outcome.log


def test_the_code_that_a_plain_update_loads():
    sizes = code.loaded()
    assert "main.py" in sizes and "lib/ivota/update_client.py" in sizes
    assert sum(sizes.values()) <= MPY_BYTES, sizes


@pytest.mark.parametrize(
    ("module", "functions"),
    (
        ("update_client", {"step"}),
        ("mqtt_session", {"step"}),
        ("update", {"step"}),
        ("body_download", {"step", "_finish_block"}),
        ("file_target", {"receive", "end_block", "_begin_block", "digest_more"}),
        ("slot_target", {"receive", "_gather", "_program", "end_block", "digest_more"}),
    ),
)
def test_no_frame_of_what_receives_comes_from_the_heap(module, functions):
    path = CHECKOUT / "lib" / "ivota" / f"{module}.py"
    shown = subprocess.run(
        [*micropython(64), "-v", "-v", "-O2", "-X", "compile-only", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.findall(
        r"code block '(\w+)'.*?\(N_STATE (\d+)\)\s+\(N_EXC_STACK (\d+)\)", shown, re.DOTALL
    )
    words = {name: int(state) + HANDLER_WORDS * int(tries) for name, state, tries in found}
    assert functions <= set(words)
    assert {name for name in functions if words[name] > FRAME_WORDS} == set(), words
