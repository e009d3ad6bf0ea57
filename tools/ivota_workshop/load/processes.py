"""Keep cores busy, and end all processes that a soak has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# It ends with its standard input, and so with its parent, however that ends.
_BUSY = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""
_GRACE_S = 20  # to end boards, brokers and databases in order


@contextlib.contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep `count` cores busy with computing processes."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE)
            made.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield made


@contextlib.contextmanager
def family(command: list[str], cwd: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run a command to its end and yield its exit status; end all processes that it has started.

    Tests start boards and brokers in process groups of their own. Therefore a variable in the
    environment, which every process inherits, marks them all.
    """
    mark = f"IVOTA_SOAK_{os.getpid()}_{os.urandom(4).hex()}"
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **environment, mark: "1"}, start_new_session=True
    )
    try:
        yield process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
        while found := marked(mark):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()


def marked(mark: str) -> list[int]:
    """Return the processes with this variable in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{mark}=".encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found
