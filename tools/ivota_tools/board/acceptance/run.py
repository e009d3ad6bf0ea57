"""Run the test: all steps in order, and finally restore the board's own files."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ivota_tools.api_client import ApiError
from ivota_tools.board import on_board
from ivota_tools.board.acceptance import measuring_steps, update_steps
from ivota_tools.board.acceptance.aside import Aside
from ivota_tools.board.acceptance.console import Console
from ivota_tools.board.acceptance.measuring_steps import Seen
from ivota_tools.board.acceptance.resets import Ask, Resets
from ivota_tools.board.acceptance.results import FAIL, PASS, SKIP, Failed, Result, Skipped
from ivota_tools.board.acceptance.rig import NETWORK, Rig
from ivota_tools.board.errors import BoardError
from ivota_tools.board.file_ownership import about
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.cloud import CloudError
from ivota_tools.firmware.release import ReleaseError
from ivota_tools.toolchain import ToolchainError

Progress = Callable[[Result | str], None]
"""Is told the title of each step as it begins, and its result."""

_KNOWN = (ApiError, BoardError, CloudError, Failed, ReleaseError, ToolchainError)


@dataclass(frozen=True)
class Step:
    """A function of the test, and the names of the steps that must pass before it."""

    name: str
    title: str
    function: Callable[[Rig], Seen]
    needs: tuple[str, ...] = ()


STEPS = (
    Step("board", "The board and its reset causes", measuring_steps.look),
    Step("reset-by", "An external reset", measuring_steps.find_reset, ("board",)),
    Step("heap", "Free heap at the prompt", measuring_steps.heap),
    Step("stack", "Stack of the main task", measuring_steps.stack),
    Step("block", "Time to write a block", measuring_steps.block),
    Step("erase", "Time to erase a block", measuring_steps.erase),
    Step("install", "Installation", update_steps.install, ("board",)),
    Step("wifi", "Wi-Fi", update_steps.wifi, ("install",)),
    Step("update", "A complete update", update_steps.update, ("install",)),
    Step("cut", "A broken link", update_steps.cut, ("update",)),
    Step("reset", "A reset during the download", update_steps.reset, ("update", "reset-by")),
    Step("crash", "Rollback after a crash", update_steps.crash, ("update",)),
    Step("hang", "Rollback after a hang", update_steps.hang, ("update",)),
    Step("signatures", "Signatures", update_steps.signatures, ("update",)),
    Step("delta", "A delta", update_steps.delta, ("update",)),
    Step(
        "core", "The application's share of the processor", measuring_steps.from_log, ("update",)
    ),
    Step("flash", "Contents of the flash", update_steps.flash, ("update",)),
    Step("image", "An ESP32 image", update_steps.image, ("update",)),
)


def test_board(
    board: Mpremote,
    *,
    address: str,
    config: dict[str, Any] | None,
    put: Sequence[tuple[Path, str]] = (),
    power_command: str | None = None,
    ask: Ask | None = None,
    image: Path | None = None,
    image_version: str | None = None,
    only: Sequence[str] = (),
    step_s: float = 300,
    progress: Progress = lambda told: None,
) -> dict[str, Any]:
    """Run the test and return its report.

    `config` contains the network sections; default: the board's own configuration. `put` are files
    of the host with their paths on the board, for the duration of the test; they are copied after
    the installation and replace its files. `only` names the steps to run; the steps that they
    need run first. `address` is where the board reaches this computer. Raises BoardError if the
    test cannot start.
    """
    steps = _chosen(only)
    begun = datetime.datetime.now(datetime.timezone.utc)
    aside = Aside(board, [path for _, path in put])
    console = Console(board.port)
    resets = Resets(board, console, power_command, ask)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="ivota-board-test-") as folder:
        rig = Rig(Path(folder), board, console, resets, address, step_s)
        rig.image, rig.image_version, rig.put = image, image_version, list(put)
        with ExitStack() as ends:
            try:
                ends.enter_context(rig)
            except (CloudError, OSError, ToolchainError) as error:
                raise BoardError(f"the cloud for the test did not start: {error}") from None
            aside.check()
            with board.restart_on_failure():
                found = board.ask(on_board.identify)
                own = aside.begin()
            source = own if config is None else config
            rig.network = {key: source[key] for key in NETWORK if source.get(key) is not None}
            try:
                for step in steps:
                    results.append(_result(step, rig, results, progress))
            finally:
                console.stop()
                results.append(_restored(aside, progress))
    return {
        "board": about(found),
        "port": board.port,
        "began": begun.isoformat(timespec="seconds"),
        "network": _sections(rig.network),
        "reset_by": resets.by,
        "passed": all(each.outcome != FAIL for each in results),
        "steps": [asdict(each) for each in results],
    }


def _chosen(only: Sequence[str]) -> list[Step]:
    """Return the named steps (all, if none are named) and the steps that they need."""
    named = {step.name: step for step in STEPS}
    wanted = set(only or named)
    if wanted - set(named):
        unknown = ", ".join(sorted(wanted - set(named)))
        raise BoardError(f"there is no step {unknown}: the steps are {', '.join(named)}")
    for step in reversed(STEPS):
        if step.name in wanted:
            wanted.update(step.needs)
    return [step for step in STEPS if step.name in wanted]


def _result(step: Step, rig: Rig, before: Sequence[Result], progress: Progress) -> Result:
    needed = [each for each in before if each.name in step.needs and each.outcome != PASS]
    if needed:
        how = "failed" if needed[0].outcome == FAIL else f"was skipped: {needed[0].seen}"
        why = f"the step {needed[0].name} {how}"
        result = Result(step.name, step.title, SKIP, why, 0)
        progress(result)
        return result

    def run() -> Seen:
        rig.settle()
        return step.function(rig)

    return _timed(step.name, step.title, run, progress, rig.console)


def _restored(aside: Aside, progress: Progress) -> Result:

    def end() -> Seen:
        try:
            return aside.end(), {}
        except BoardError as error:
            again = "restore the board's own files with `ivota board test --restore`"
            raise Failed(f"{error}; {again}") from None

    return _timed("restored", "The board's files are restored", end, progress, None)


def _sections(network: dict[str, Any]) -> list[str]:
    """Return the board's network sections: the one in use, or several."""
    named = network.get("network")
    return [named] if named else [key for key in network if key != "hostname"]


def _timed(
    name: str, title: str, run: Callable[[], Seen], progress: Progress, console: Console | None
) -> Result:
    progress(title)
    begun = time.monotonic()
    values: dict[str, Any] = {}
    try:
        outcome = PASS
        seen, values = run()
    except Skipped as why:
        outcome, seen = SKIP, str(why)
    except _KNOWN as error:
        outcome, seen = FAIL, str(error)
        printed = console.tail() if console else ""
        if printed:
            values = {"printed": printed.splitlines()}
    result = Result(name, title, outcome, seen, round(time.monotonic() - begun, 1), values)
    progress(result)
    return result
