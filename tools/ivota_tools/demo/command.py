"""Run the demo: play the scenes, print the results and write build/demo.json."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from ivota_tools.api_client import ApiError
from ivota_tools.cloud import CloudError
from ivota_tools.cloud.accounts.tokens import LOCAL_TOKEN
from ivota_tools.common import project_files
from ivota_tools.demo import delta_scene, rollback_scene, update_scene
from ivota_tools.demo.display import print_table, showing
from ivota_tools.demo.stage import Stage, interpreter
from ivota_tools.firmware.release import ReleaseError
from ivota_tools.sim import BoardError, FlashError
from ivota_tools.toolchain import ToolchainError, mosquitto, umqtt

# For an installed ivota: a folder in the current directory.
BUILD = (
    project_files.CHECKOUT / "build"
    if project_files.root() == project_files.CHECKOUT
    else Path("build")
)

_KNOWN = (ApiError, BoardError, CloudError, FlashError, ReleaseError, ToolchainError)


Watch = Callable[[Stage], AbstractContextManager[object]]


def main(
    build: Path = BUILD,
    *,
    keep: bool = False,
    console: Console | None = None,
    watch: Watch = nullcontext,
) -> int:
    """Update a simulated board over a link that breaks three times, and cut its power once.
    Next, push a broken version, which fails its trial, and finally a fixed one, as a delta.

    Returns the exit code. It is 0 only if the board runs the new version, the cloud reports the
    update as done and the file on the board's flash is correct; if the same holds after the
    broken version, which the cloud reports as failed with a reason; and if the delta produces the
    pushed firmware. With `keep`, the console and the board keep running until Ctrl-C. `watch` is
    entered with the stage before the first scene and left after the last one.
    """
    if console is None:
        console = Console(highlight=False) if sys.stdout.isatty() else plain_console()
    # On Ctrl-C the broker receives the signal, too, so do not report that it stopped.
    logging.getLogger("ivota").addHandler(logging.NullHandler())
    try:
        with _one_interrupt():
            done = _play(console, build, keep, watch)
    except KeyboardInterrupt:
        console.print("interrupted; all processes have stopped")
        return 130
    except _KNOWN as error:
        print(f"ivota: {error}", file=sys.stderr)
        return 1
    return 0 if done else 1


def plain_console() -> Console:
    """Create a console for a pipe: 80 columns, whatever COLUMNS says."""
    return Console(force_terminal=False, width=80, highlight=False)


def _play(console: Console, build: Path, keep: bool, watch: Watch) -> bool:
    result = build / "demo.json"
    result.unlink(missing_ok=True)  # a stale file must not be mistaken for this run's result
    # Download missing tools now, so that they do not count as a scene's time.
    runs_on = interpreter()
    mosquitto(), umqtt()
    second = third = None
    with ExitStack() as ends:
        with showing(console, update_scene.TITLE) as show:
            show.say(f"starting a cloud (mosquitto, HTTP) and a simulated board ({runs_on})")
            stage = ends.enter_context(Stage(build / "demo", update_scene.CONFIG, keep))
            ends.enter_context(watch(stage))
            first = update_scene.play(stage, show)
        # The second scene rolls back to the firmware of the first one.
        if not first.failures:
            console.print()
            with showing(console, rollback_scene.TITLE) as show:
                second = rollback_scene.play(stage, show, first.md5)
        if second and not second.failures:
            console.print()
            with showing(console, delta_scene.TITLE) as show:
                third = delta_scene.play(stage, show)
        print_table(console, update_scene.TITLE, first.rows)
        if second:
            print_table(console, rollback_scene.TITLE, second.rows)
        if third:
            print_table(console, delta_scene.TITLE, third.rows)
        scenes = [scene.json() for scene in (second, third) if scene]
        told = {"micropython": asdict(runs_on), **first.json(), "scenes": scenes}
        result.write_text(json.dumps(told, indent=2) + "\n")
        failures = [each for scene in (first, second, third) if scene for each in scene.failures]
        for sentence in failures:
            console.print(f"NOT DONE: {sentence}", markup=False, soft_wrap=True)
        console.print()
        if keep:
            _keep(console, stage)
        else:
            address = stage.cloud.api_url
            console.print(
                f"console at {address}, stopping now; use make demo KEEP=1 to keep it running"
            )
    return not failures


def _keep(console: Console, stage: Stage) -> None:
    """Keep the console and the board running until Ctrl-C."""
    stage.proxy.pace(None)
    stage.board.power_on()
    for name, words in (
        ("console", stage.cloud.set_up_url or stage.cloud.api_url),
        ("", "one-time link: the first visitor creates the first user"),
        ("commands", f"export IVOTA_URL={stage.cloud.api_url}"),
        ("", f"export IVOTA_TOKEN=$(cat {stage.cloud.folder / LOCAL_TOKEN})"),
        ("", "press Ctrl-C to stop the console and the board"),
    ):
        console.print(f"{name:<9} {words}", markup=False, soft_wrap=True)
    try:
        while True:
            stage.cloud.wait(0.5)
    except KeyboardInterrupt:
        console.print("stopped; all processes have stopped")


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C, and ignore all but the first signal, so that further
    signals do not interrupt the clean-up of processes.
    """
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> NoReturn:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
