"""The progress of long work: its name, its size and the share that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

LOOK_S = 0.2  # between two looks at a position

Done = Callable[[float], None]  # receives the share that is done, 0 to 1


class Begin(Protocol):
    """Begin a piece of work.

    `size` is in bytes, or None if the work has no such size. Returns the object that receives the
    progress.
    """

    def __call__(self, what: str, size: int | None = None, /) -> Done: ...


def silent(_what: str, _size: int | None = None, /) -> Done:
    """Show no progress."""
    return lambda share: None


@contextmanager
def watched(position: Callable[[], int], size: int, done: Done) -> Iterator[None]:
    """Report how many of `size` bytes are done while another library or program works."""
    end = Event()

    def look() -> None:
        while not end.wait(LOOK_S):
            done(min(position() / max(size, 1), 1.0))

    thread = Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
