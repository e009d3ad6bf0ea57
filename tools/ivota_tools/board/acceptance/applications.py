"""The applications that the test pushes: one measures, one crashes, one hangs."""

from __future__ import annotations

from pathlib import Path

LOG = "/ivota-test.log"
WINDOW_MS = 500
SETTLE_S = 2

_MEASURES = '''"""Notes each start and its cause, and how much of the core is left to it."""
import asyncio
import gc
import json
import time

import machine
import micropython

from ivota import agent

VERSION = "{version}"


def note(kind, **values):
    with open("{log}", "a") as file:
        file.write(json.dumps(dict(values, kind=kind, version=VERSION)) + "\\n")


async def loops():
    n = 0
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < {window_ms}:
        for _ in range(50):
            pass
        n += 1
        await asyncio.sleep_ms(0)
    return n


async def main():
    gc.collect()
    use = getattr(micropython, "stack_use", lambda: None)
    note("start", cause=machine.reset_cause(), heap_free=gc.mem_free(), stack=use())
    noted = {{}}
    await asyncio.sleep({settle_s})  # the client starts up meanwhile
    while True:
        busy = bool(agent.client.job)
        n = await loops()
        if busy == bool(agent.client.job) and noted.get(busy, 0) < 4:
            noted[busy] = noted.get(busy, 0) + 1
            gc.collect()
            note("share", downloading=busy, loops=n, heap_free=gc.mem_free())
        await asyncio.sleep_ms(500)
'''

_CRASHES = '''"""Raises as soon as it starts."""


def main():
    raise ValueError("on purpose")
'''

_HANGS = '''"""Never gives the update client a turn, so that only the watchdog ends it."""


async def main():
    while True:
        pass
'''


def write_measuring(folder: Path, version: str, filler: str = "") -> Path:
    """Write an application that logs on the board; `filler` is a comment that makes it unique."""
    text = _MEASURES.format(version=version, log=LOG, settle_s=SETTLE_S, window_ms=WINDOW_MS)
    return _write(folder, text + (f"\n\nRELEASE = {filler!r}\n" if filler else ""))


def write_crashing(folder: Path) -> Path:
    return _write(folder, _CRASHES)


def write_hanging(folder: Path, watchdog_s: int) -> Path:
    """Write an application that hangs, with a shorter watchdog than the minute of a trial."""
    _write(folder, _HANGS)
    (folder / "config.json").write_text(f'{{"watchdog_s": {watchdog_s}}}\n')
    return folder


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(text)
    return folder
