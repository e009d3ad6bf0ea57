"""What a scene is played on: a cloud, a bad link, a simulated board, and an ear at the broker."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ivota_tools.client_api import Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.sim import Board, Proxy

PRODUCT, NAME = "DEMO", "board-1"


class Ear:
    """Hears at the broker which versions devices say they run, whatever the cloud makes of it."""

    def __init__(self, port: int) -> None:
        self.versions: list[str] = []  # in order, of all connections
        ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._heard
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"$ota/report/{PRODUCT}/{NAME}", 1)
        if not ready.wait(10):
            raise CloudError("the broker does not answer")

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        said = json.loads(message.payload)
        if said["type"] == "report_version":
            self.versions.append(said["report"]["version"])

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Stage:
    """`with Stage(folder) as stage: …`; whatever happens inside, every process is ended.

    `folder` is emptied first. The board is installed but off; it fetches firmware through
    `proxy`, which has no faults yet.
    """

    def __init__(self, folder: Path, config: Mapping[str, object]) -> None:
        self.folder = folder
        self._config = config
        self._ends = ExitStack()

    def __enter__(self) -> Stage:
        with self._ends:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True)
            self.cloud = self._ends.enter_context(Cloud(self.folder / "cloud"))
            self.proxy = self._ends.enter_context(Proxy("127.0.0.1", self.cloud.http_port))
            self.cloud.public_url = f"http://127.0.0.1:{self.proxy.port}"
            self.api = self._ends.enter_context(Client(self.cloud.api_url))
            self.ear = Ear(self.cloud.mqtt_port)
            self._ends.callback(self.ear.close)
            self.board = self._ends.enter_context(self._make_board())
            self.board.install()
            self._ends = self._ends.pop_all()  # all of it stands: ended by __exit__ only
        return self

    def _make_board(self) -> Board:
        config: dict[str, Any] = {
            "product_id": PRODUCT,
            "device_name": NAME,
            "mqtt": {"host": "127.0.0.1", "port": self.cloud.mqtt_port},
            **self._config,
        }
        log = self._ends.enter_context((self.folder / "board.log").open("w", buffering=1))
        return Board(
            self.folder / "board",
            bits=32,
            config=config,
            mpy=True,
            console=lambda line: print(line, file=log),
        )

    @property
    def device(self) -> dict[str, Any]:
        """The board as the cloud sees it."""
        found: dict[str, Any] = self.api.device(f"{PRODUCT}/{NAME}")
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.__exit__(kind, error, trace)
