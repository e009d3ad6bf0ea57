"""Home Assistant's view of a board that publishes its own entity, on a separate broker.

The board is real MicroPython in the simulator, and the cloud knows nothing of Home Assistant.
`run` calls `check(step, state)` as in ha_scenario.py.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

from .ha_scenario import Json, Listener

PRODUCT, NAME = "HOME", "kitchen"
BASE = f"ivota/{PRODUCT}/{NAME}"
IDLE = "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
CRASHES = 'async def main():\n    raise ValueError("on purpose")\n'
OFFLINE: Json = {"availability": "offline"}
_BUSY = ("installed_version", "latest_version", "in_progress")


@dataclass(kw_only=True)
class BoardStage(Listener):
    cloud: Cloud
    api: Client
    home_broker: Broker
    board: Board

    @classmethod
    @contextlib.contextmanager
    def open(cls, bits: int | None = None, **changes: Any) -> Iterator[BoardStage]:
        """`changes` replace parts of the board's configuration."""
        with (
            tempfile.TemporaryDirectory(prefix="ivota-ha-") as name,
            contextlib.ExitStack() as stack,
        ):
            folder = Path(name)
            deaths: list[str] = []
            broker = Broker(folder / "home", "127.0.0.1", 0, deaths.append)
            stack.enter_context(broker)
            cloud = stack.enter_context(Cloud(folder / "cloud", make_deltas=False))
            api = stack.enter_context(Client(cloud.api_url))
            config = settings(cloud.mqtt_port, broker.port, **changes)
            board = Board(folder / "board", bits=bits, mpy=True, config=config, turns=True)
            board.install()
            stack.enter_context(board)
            stage = cls(folder, broker.port, cloud=cloud, api=api, home_broker=broker, board=board)
            with stage.listening("homeassistant/#", f"{BASE}/#"):
                yield stage

    def upload(self, version: str, application: str = IDLE) -> None:
        """Upload a bundle and push it to the board."""
        source = self.folder / f"app-{version}"
        source.mkdir()
        (source / "app.py").write_text(f"{application}\nVERSION = {version!r}\n")
        out = self.folder / f"{version}.bin"
        pack(source, version, out=out, application="kettle", pad_to=100_000)
        self.api.upload(out)
        self.api.push(f"{PRODUCT}/{NAME}", version, new=True)

    def wait_availability(self, wanted: str) -> None:
        self.hear(lambda _: self.availability == wanted, wanted)

    def configure(self, **home_assistant: Any) -> None:
        """Start the board again with another section `home_assistant`."""
        self.board.power_cut()
        config = json.loads(self.board.read("/ivota.json"))
        config["home_assistant"].update(home_assistant)
        self.board.write("/ivota.json", json.dumps(config).encode())
        self.board.power_on()

    def normalized(self, value: Any) -> Any:
        """Return messages without the parts that differ from session to session."""
        text = json.dumps(value).replace(self.node(), "NODE")
        for config in (self.messages[topic] for topic in self.topics("config")):
            if config and "payload_install" in config:
                text = text.replace(config["payload_install"].partition(" ")[2], "TOKEN")
        return json.loads(text)


def settings(cloud_port: int, broker_port: int, **changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "product_id": PRODUCT,
        "device_name": NAME,
        "version": "0.1",
        "mqtt": {"host": "127.0.0.1", "port": cloud_port},
        "home_assistant": {"mode": "install", "host": "127.0.0.1", "port": broker_port},
        "retry": {"first_s": 0.1, "most_s": 1},
        "trial": {"starts": 1},
    }
    return config | changes


def run(stage: BoardStage, check: Callable[[str, Json], None]) -> None:
    stage.board.power_on()
    stage.wait_availability("online")
    check("a board", stage.wait_for(installed_version="0.1", latest_version="0.1"))
    stage.upload("0.2")
    check("an update on offer", stage.wait_for(latest_version="0.2", in_progress=False))
    stage.press_install()
    check("the button", _brief(stage.wait_for(in_progress=True)))
    check("the end", stage.wait_for(installed_version="0.2", in_progress=False))
    stage.upload("0.3", CRASHES)
    check("another update", stage.wait_for(latest_version="0.3", in_progress=False))
    stage.press_install()
    check("its installation", _brief(stage.wait_for(latest_version="0.3", in_progress=True)))
    stage.wait_for(installed_version="0.2", latest_version="0.2", in_progress=False)
    # The reason follows once the board has read its state.
    stage.hear(lambda _: "crashed" in str(stage.state().get("release_summary")), "the crash")
    check("the previous version runs again", stage.state())
    stage.board.power_cut()
    stage.wait_availability("offline")
    check("the board is off", OFFLINE)
    stage.configure(mode="remove")
    stage.hear(lambda found: None in [found[topic] for topic in stage.topics("config")], "removal")
    check("the entity is removed", {})


def _brief(state: Json) -> Json:
    """Return the parts that do not depend on the progress of an installation."""
    return {key: state[key] for key in _BUSY}
