"""Update a board through a third-party broker between it and `ivota cloud`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

from .brokers import Part, Running

EXAMPLE = CHECKOUT / "examples" / "thermometer"
LIMIT_S = 120.0
PREFIX = "fleet/ota"
DEVICE = "ki.tchen"  # some brokers treat the dot as a slash


class NotServed(Exception):
    """The update failed; the text says why."""


def run(part: Part) -> None:
    """Update a board. Raises NotServed, and ToolchainError if the broker is unavailable."""
    with tempfile.TemporaryDirectory(prefix="ivota-reach-") as name:
        folder = Path(name)
        with part.running(folder) as running:
            if part.drops:
                _is_noticed(folder, running)
            prefix = PREFIX if part.drops else "$ota"
            _update(folder, running, prefix, slashes=part.slashes)


def _cloud(folder: Path, running: Running, prefix: str = "$ota") -> Cloud:
    return Cloud(
        folder,
        broker=running.address,
        broker_password=running.password,
        topic_prefix=prefix,
    )


def _is_noticed(folder: Path, running: Running) -> None:
    """Check that the cloud reports the problem of a broker that drops `$ota/…`."""
    with _cloud(folder / "lost", running) as cloud, Client(cloud.api_url) as api:
        _wait(
            lambda: "drops topics that begin with $" in str(api.health()["problem"]),
            "what is wrong with the broker",
        )


def _update(folder: Path, running: Running, prefix: str, *, slashes: bool) -> None:
    pack(EXAMPLE, "0.2", out=folder / "0.2.bin", application="thermometer")
    mqtt: dict[str, object] = {"host": "127.0.0.1", "port": running.port}
    if running.user:
        mqtt |= {"user": running.user, "password": running.password}
    config = {
        "product_id": "P",
        "device_name": DEVICE,
        "version": "0.1",
        "mqtt": mqtt,
        "topics": {
            each: f"{prefix}/{each}/{{product_id}}/{{device_name}}"
            for each in ("report", "update")
        },
        "retry": {"first_s": 0.1, "most_s": 1, "rest_most_s": 1},
    }
    board = Board(folder / "board", mpy=True, config=config)
    board.install()
    with _cloud(folder / "cloud", running, prefix) as cloud, Client(cloud.api_url) as api, board:
        data = (folder / "0.2.bin").read_bytes()
        api.upload(folder / "0.2.bin", "0.2")
        api.push(f"P/{DEVICE}", "0.2", new=True)
        board.power_on()
        _wait(lambda: api.device(f"P/{DEVICE}")["version"] == "0.2", "the new version")
        _wait(lambda: api.device(f"P/{DEVICE}")["state"] == "done", "the end of the update")
        _expect(board.read("/firmware/0.2.bin") == data, True)
        _expect([each["device_name"] for each in api.devices()], [DEVICE])
        _expect(api.health()["problem"], None)
        if slashes:
            try:
                api.push("P/" + DEVICE.replace(".", "/"), "0.2", new=True)
                raise NotServed("a name that this broker takes for the other one is not refused")
            except ApiError as error:
                _expect(f"P/{DEVICE}" in str(error), True)


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise NotServed(f"{found!r}, not {expected!r}")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise NotServed(f"{what} does not come")
        time.sleep(0.1)
