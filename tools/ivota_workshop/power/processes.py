"""Processes that share work: each starts a new interpreter, and ends with its parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext
from typing import Any

# A fork of a process with threads may wait forever for a lock that one of them held. It also keeps
# every pipe of its parent open, so a reader never learns that the parent has ended.
CONTEXT: SpawnContext = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def processes(
    number: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Provide `number` processes, which call `begin` first. Unfinished work is abandoned.

    A process that dies ends the work with BrokenProcessPool.
    """
    pool = ProcessPoolExecutor(number, CONTEXT, _begin, (begin, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
