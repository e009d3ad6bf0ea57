"""`make soak-ha`: check the real Home Assistant's view of a board.

First the cloud publishes the board's entity (ha_scenario.py), and then the board itself does
(ha_board_scenario.py).
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from ivota_tools.toolchain import ToolchainError
from ivota_tools.toolchain.cache import cached, say

from ..figures import Figure, report
from . import ha_board_scenario, ha_scenario
from .ddi_stage import WAIT_S, Unexpected
from .ha_board_scenario import OFFLINE, BoardStage
from .ha_scenario import Listener, Stage

COMMAND = "make soak-ha"
AREA = "neighbours"
HERE = Path(__file__).parent
LOCK = HERE / "home_assistant.lock"  # exact versions with their hashes
UV_LOCK = HERE / "uv.lock"  # pip does not finish with so many packages
PYTHON = "3.11"  # the last Python of this Home Assistant that our own tools also use
START_S = 300.0
FIGURES = "ha_entity_states", "ha_board_entity_states"

Json = dict[str, Any]


def environment() -> Path:
    """Return Home Assistant's Python. Raises ToolchainError."""
    return cached("home-assistant-2024.3.3", _fetch) / "env/bin/python"


def _fetch(new: Path) -> None:
    say("installing Home Assistant once, some 300 MB")
    pip = sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"
    _run(*pip, "--only-binary", ":all:", "--target", str(new / "uv"), "-r", str(UV_LOCK))
    uv = str(new / "uv/bin/uv")
    _run(uv, "venv", "--quiet", "--python", PYTHON, str(new / "env"))
    python = str(new / "env/bin/python")
    _run(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"{' '.join(command[:4])} fails: {done.stderr.strip()[-300:]}")


class HomeAssistant:
    """A running Home Assistant; `seen` are the different states of the board's entity."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[Json] = queue.Queue()
        self.started = False
        self.entity = ""
        self.now: Json = {}
        self.seen: list[tuple[Any, ...]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(json.loads(line))

    def wait(self, reached: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + limit_s
        while not reached():
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise Unexpected(f"Home Assistant did not show {what}: {self.now}") from None
            self._take(line)

    def _take(self, line: Json) -> None:
        self.started = self.started or "started" in line
        if not str(line.get("entity")).startswith("update."):
            return
        self.entity, self.now = str(line["entity"]), line
        told = line["attributes"]
        names = "installed_version", "latest_version", "in_progress"
        state = (line["state"], *(told.get(name) for name in names))
        if state not in self.seen:
            self.seen.append(state)

    def install(self) -> None:
        """Press the button."""
        assert self._process.stdin
        self._process.stdin.write(f"install {self.entity}\n")
        self._process.stdin.flush()

    def shows(self, state: Json) -> bool:
        """Return whether the entity is as the state says; {} if it is gone."""
        if not state:
            return bool(self.entity) and self.now["state"] is None
        if state == OFFLINE:
            return bool(self.now["state"] == "unavailable")
        told = self.now.get("attributes", {})
        names = "installed_version", "latest_version", "release_summary"
        return all(told.get(name) == state[name] for name in names if name in state)


class Button:
    """The button is Home Assistant's own."""

    home: HomeAssistant

    def press_install(self) -> None:
        self.home.install()


class Watched(Button, Stage):
    """A cloud that publishes the entities of its devices."""


class WatchedBoard(Button, BoardStage):
    """A board that publishes its own entity."""


@contextlib.contextmanager
def running(stage: Listener) -> Iterator[HomeAssistant]:
    folder = stage.folder / "home-assistant"
    folder.mkdir()
    command = [str(environment()), str(HERE / "run_home_assistant.py")]
    process = subprocess.Popen(
        [*command, str(folder), str(stage.mqtt_port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        found = HomeAssistant(process)
        found.wait(lambda: found.started, "its start", START_S)
        yield found
    finally:
        process.kill()
        process.wait(WAIT_S)


def states(kind: Any, run: Callable[..., None], console: Console) -> int:
    """Run a scenario, and return how many different states its entity had."""
    with kind.open() as stage, running(stage) as home:
        stage.home = home

        def check(step: str, state: Json) -> None:
            home.wait(lambda: home.shows(state), step)
            console.print(f"Home Assistant sees {step}", markup=False, highlight=False)

        run(stage, check)
        return len(home.seen)


def measure(console: Console) -> dict[str, Figure]:
    goal, unit = ">= 5", "states"
    try:
        environment()
    except ToolchainError as error:
        why = f"Home Assistant cannot be installed: {error}"
        return {name: Figure(0, goal, unit, why) for name in FIGURES}
    of_cloud = states(Watched, ha_scenario.run, console)
    of_board = states(WatchedBoard, ha_board_scenario.run, console)
    return {
        name: Figure(found, goal, unit)
        for name, found in zip(FIGURES, (of_cloud, of_board), strict=True)
    }


def main() -> None:
    console = Console()
    sys.exit(report(AREA, COMMAND, measure(console), console, keep=True, part=True))


if __name__ == "__main__":
    main()
