"""The steps that examine and measure the board, at its prompt and from its log."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

from ivota_tools.board import on_board
from ivota_tools.board.acceptance import applications, on_board_measure
from ivota_tools.board.acceptance.results import Failed, Skipped
from ivota_tools.board.acceptance.rig import Rig
from ivota_tools.board.install_files import STATE

Seen = tuple[str, dict[str, Any]]

_BLOCKS = 32
_REST_S = 7  # during which the application measures while the client only waits
_WINDOWS = 3  # the best one counts, because other activity may slow down the others
_SCRATCH = "/ivota-test.tmp"


def look(rig: Rig) -> Seen:
    """Describe the board, and the cause that it reports for each kind of reset."""
    found = rig.ask(on_board_measure.prompt, resume=False)
    rig.found = found
    causes = {"soft reset": found["reset_cause"]}
    with rig.console.released():
        rig.board.reset()
    causes["machine.reset()"] = rig.ask(on_board_measure.prompt)["reset_cause"]
    interfaces = found["interfaces"]
    if interfaces is None:
        network = "no network module"
    else:
        network = f"network: {', '.join(interfaces) or 'nothing'}"
    slot = f"inactive slot {found['slot']}" if found["slot"] else "no OTA slots"
    seen = f"{network}; {slot}; reset causes: {_causes(causes)}"
    return seen, {"reset_causes": causes, "interfaces": interfaces, "slot": found["slot"]}


def find_reset(rig: Rig) -> Seen:
    """Find out how this computer can reset the board, and which cause the board reports."""
    by = rig.resets.find()
    cause = rig.ask(on_board_measure.prompt)["reset_cause"]
    return f"{by} can reset the board; reset cause {cause}", {"by": by, "reset_cause": cause}


def heap(rig: Rig) -> Seen:
    """Measure the free heap at the prompt, after a soft reset and before any import."""
    found = rig.ask(on_board_measure.prompt, resume=False)
    free, used = found["heap_free"], found["heap_used"]
    return f"{free:,} bytes free, {used:,} used at the prompt", {"free": free, "used": used}


def stack(rig: Rig) -> Seen:
    """Measure how much of the main task's stack a program can use."""
    found = rig.ask(on_board_measure.deepest)
    size = found["bytes"]
    measured = f", {size:,} bytes" if size is not None else ""
    return f"{found['calls']:,} nested calls{measured}", found


def block(rig: Rig) -> Seen:
    """Measure the time to write a block of 4096 bytes to a file durably."""
    found = rig.ask(on_board_measure.write_blocks, path=_SCRATCH, count=_BLOCKS)
    return _times(found), found


def erase(rig: Rig) -> Seen:
    """Measure the time to erase 4096 bytes of the inactive slot."""
    found = rig.ask(on_board_measure.erase_blocks, count=_BLOCKS)
    if found is None:
        raise Skipped("this board has no inactive OTA slot in which to erase blocks")
    return _times(found), found


def from_log(rig: Rig) -> Seen:
    """Read the application's share of the core and the free heap beside the working client."""
    rig.cloud.wait(_REST_S)
    rig.ask(on_board.feed_watchdog, state=STATE)
    text = rig.ask(on_board_measure.text_of, path=applications.LOG)
    entries = rig.log(text)
    alone = max(
        rig.ask(on_board_measure.loops_alone, window_ms=applications.WINDOW_MS)
        for _ in range(_WINDOWS)
    )
    shares = {
        word: [each for each in entries if each["kind"] == "share" and each["downloading"] == busy]
        for word, busy in (("waiting", False), ("downloading", True))
    }
    if not shares["waiting"]:
        raise Failed("the application did not write its log")
    values: dict[str, Any] = {"loops_alone": alone}
    words = []
    for word, windows in shares.items():
        if not windows:
            continue
        share = min(round(100 * median(each["loops"] for each in windows) / alone), 100)
        free = min(each["heap_free"] for each in windows)
        values[word] = {"percent": share, "heap_free": free, "windows": len(windows)}
        words.append(f"{share} % of the processor and {free:,} bytes of free heap while {word}")
    starts = [each for each in entries if each["kind"] == "start"]
    values["starts"] = [[each["version"], each["cause"]] for each in starts]
    counts = sorted(Counter(each["cause"] for each in starts).items())
    by_cause = ", ".join(f"{number} with reset cause {cause}" for cause, number in counts)
    words.append(f"the application started {len(starts)} times: {by_cause}")
    stacks = [each["stack"] for each in starts if each["stack"] is not None]
    if stacks:
        values["stack_at_start"] = max(stacks)
    return "; ".join(words), values


def _causes(causes: dict[str, Any]) -> str:
    return ", ".join(f"{name} {cause}" for name, cause in causes.items())


def _times(found: dict[str, Any]) -> str:
    mean, worst = found["mean_us"] / 1000, found["worst_us"] / 1000
    return f"{mean:.1f} ms on average, {worst:.1f} ms at worst, for {found['blocks']} blocks"
