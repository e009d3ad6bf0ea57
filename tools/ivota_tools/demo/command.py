"""The demo as a command: plays the scenes, prints, writes build/demo.json, says how it went."""

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

# Of an installed ivota: the folder that one is in.
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
    """Updates a simulated board over a link that is cut three times, and cuts its power once.
    Then pushes a broken version, which fails its trial, and at last a mended one, as a delta.

    Returns the exit code: 0 only if the board ran the new version, the cloud said done, and the
    file on the board's flash was right; if all of it is so again after the broken one, which
    the cloud says has failed, and why; and if the delta made what was pushed. With `keep`, console
    and board then go on until Ctrl-C. `watch` is entered with the stage before the first scene and
    left after the last one.
    """
    if console is None:
        console = Console(highlight=False) if sys.stdout.isatty() else plain_console()
    # On Ctrl-C the broker gets the signal, too; that it ended is then no news.
    logging.getLogger("ivota").addHandler(logging.NullHandler())
    try:
        with _one_interrupt():
            done = _play(console, build, keep, watch)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    except _KNOWN as error:
        print(f"ivota: {error}", file=sys.stderr)
        return 1
    return 0 if done else 1


def plain_console() -> Console:
    """Prints for a pipe: in 80 columns, whatever COLUMNS says."""
    return Console(force_terminal=False, width=80, highlight=False)


def _play(console: Console, build: Path, keep: bool, watch: Watch) -> bool:
    result = build / "demo.json"
    result.unlink(missing_ok=True)  # an old one must not pass for this run's
    # Fetched now where they are missing: a scene's time is its own.
    runs_on = interpreter()
    mosquitto(), umqtt()
    second = third = None
    with ExitStack() as ends:
        with showing(console, update_scene.TITLE) as show:
            show.say(f"starting a cloud (mosquitto, HTTP) and a simulated board ({runs_on})")
            stage = ends.enter_context(Stage(build / "demo", update_scene.CONFIG, keep))
            ends.enter_context(watch(stage))
            first = update_scene.play(stage, show)
        # What is pushed there goes back to what the first scene has brought.
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
            console.print(f"console at {address}, which ends now: make demo KEEP=1 leaves it on")
    return not failures


def _keep(console: Console, stage: Stage) -> None:
    """Until Ctrl-C, which is how this is meant to end."""
    stage.proxy.pace(None)
    stage.board.power_on()
    for name, words in (
        ("console", stage.cloud.set_up_url or stage.cloud.api_url),
        ("", "good once: whoever opens it first makes its first user"),
        ("commands", f"export IVOTA_URL={stage.cloud.api_url}"),
        ("", f"export IVOTA_TOKEN=$(cat {stage.cloud.folder / LOCAL_TOKEN})"),
        ("", "Ctrl-C ends the console and the board"),
    ):
        console.print(f"{name:<9} {words}", markup=False, soft_wrap=True)
    try:
        while True:
            stage.cloud.wait(0.5)
    except KeyboardInterrupt:
        console.print("ended; nothing is left running")


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP what Ctrl-C is, and only the first: what follows must not be
    kept from ending processes.
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
