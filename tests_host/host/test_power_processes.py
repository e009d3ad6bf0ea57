"""The processes that share the proof's work: what ends them, and what they keep open."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from waiting import WAIT_S, is_running, wait_until

from ivota_workshop.power.processes import processes
from ivota_workshop.power.seen import Seen

_PARENT = """
import os, sys
from ivota_workshop.power.processes import processes
if __name__ == "__main__":
    with processes(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
        os._exit(1)
"""


def pipes() -> list[int]:
    """Descriptors beyond the first three that this process has open on a pipe."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(each)
        except FileNotFoundError:  # of the listing itself
            continue
        if int(each.name) > 2 and target.startswith("pipe:"):
            found.append(os.stat(each).st_ino)
    return found


def test_a_process_keeps_no_pipe_of_its_parent() -> None:
    ours, theirs = os.pipe()
    try:
        with processes(1) as pool:
            kept = pool.submit(pipes).result(60)
        assert os.fstat(ours).st_ino not in kept
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_process_that_dies_ends_the_work() -> None:
    with processes(1) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(os._exit, 7).result(60)


def test_processes_end_with_their_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin and parent.stdout
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.stdin.close()
        parent.wait(WAIT_S)
    wait_until(lambda: not is_running(child), "the child's end")


def test_a_state_that_another_process_met_is_known(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen")
    assert seen.add(b"8 bytes.")
    with processes(1, _keep, seen) as pool:
        assert [pool.submit(_add, digest).result(60) for digest in (b"8 bytes.", b"others..")] == [
            False,
            True,
        ]
    assert not seen.add(b"others..")


_seen: Seen | None = None


def _keep(seen: Seen) -> None:
    global _seen
    _seen = seen


def _add(digest: bytes) -> bool:
    assert _seen
    return _seen.add(digest)
