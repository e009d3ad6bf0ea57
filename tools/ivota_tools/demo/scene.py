"""The common part of the scenes: follow an update to its end and collect the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ivota_tools.demo.display import Show, judged
from ivota_tools.demo.stage import Stage, State

MOST_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The results of a scene. Bytes at the proxy include HTTP headers."""

    version_before: str
    version_after: str  # the board's last report_version at the broker
    cloud_state: str
    md5: str  # of the firmware that should be on the flash
    md5_on_flash: str | None  # read from the flash image; None if there is no such file
    seconds: float  # seconds since the push
    states: list[State]

    @property
    def md5_judged(self) -> str:
        return f"{self.md5_on_flash}, {judged(self.md5_on_flash == self.md5)}"

    @property
    def states_seen(self) -> tuple[str, str]:
        """Return a row for display.print_table()."""
        return "the cloud saw", "\n".join(str(state) for state in self.states)

    def json(self) -> dict[str, Any]:
        shown = asdict(self)
        shown["states"] = [state.name for state in self.states]
        shown["md5_ok"] = shown.pop("md5_on_flash") == self.md5
        return shown

    def not_arrived(self, version: str) -> list[str]:
        """Return the failed checks of an update to that version, in sentences."""
        found = []
        if self.version_after != version:
            found.append(f"the board reports {self.version_after}, not {version}")
        if self.cloud_state != "done":
            found.append(f"the cloud shows {self.cloud_state}, not done")
        if self.md5_on_flash is None:
            found.append(f"firmware {version} is not on the board's flash")
        elif self.md5_on_flash != self.md5:
            found.append(f"the file on flash has the MD5 {self.md5_on_flash}, not {self.md5}")
        return found


def arrived(stage: Stage, device: dict[str, Any]) -> bool:
    """Return whether an update is over: failed, or done for both the cloud and the board."""
    state, runs = device["state"], stage.ear.versions[-1]
    return state == "failed" or (state == "done" and bool(runs == device["version"]))


def follow(
    stage: Stage,
    show: Show,
    until: float,
    *,
    lines: int = 0,
    received: int = 0,
    over: Callable[[Stage, dict[str, Any]], bool] = arrived,
) -> Iterator[list[str]]:
    """Show an update until it is over; repeatedly yield the board's output.

    `lines` and `received` are the counts of log lines and bytes before the push. It also ends at
    `until`, a time.monotonic(). Raises CloudError or BoardError if waiting is pointless.
    """
    while time.monotonic() < until:
        log = stage.board.log[lines:]
        lines += len(log)
        yield log
        device = stage.device
        show.update(device, stage.proxy.received - received)
        if over(stage, device):
            return
        stage.look()
        time.sleep(0.05)
