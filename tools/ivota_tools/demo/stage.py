"""The stage of the scenes: a cloud, a bad link, a simulated board and a listener at the broker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.firmware.release import Signer
from ivota_tools.firmware.signing_keys import generate, load_private
from ivota_tools.sim import Board, BoardError, Proxy
from ivota_tools.toolchain import boards_micropython
from ivota_tools.toolchain.program_launch import probe

PRODUCT, NAME = "DEMO", "board-1"
PORT = 8123  # the default of `ivota cloud`
TARGET = "thermometer"  # the platform of the bundles


@dataclass(frozen=True)
class State:
    """A state in the cloud's database. Times are seconds since the push."""

    name: str
    first_s: float
    why: str = ""  # of a `fail`: its code and the board's words

    def __str__(self) -> str:
        return f"{self.first_s:5.1f} s  {self.name}{self.why and ' ' + self.why}"


@dataclass(frozen=True)
class Interpreter:
    """The MicroPython that the board runs."""

    version: str
    bits: int

    def __str__(self) -> str:
        return f"MicroPython {self.version}, {self.bits} bits"


def interpreter() -> Interpreter:
    """Return the interpreter in MICROPYTHON, or a downloaded one of 32 bits.

    Raises ToolchainError.
    """
    probed = probe(tuple(boards_micropython()))
    assert probed
    return Interpreter(probed[1], probed[0])


class Ear:
    """Listen at the broker for the versions that devices report, independently of the cloud."""

    def __init__(self, port: int) -> None:
        self.versions: list[str] = []  # in order, from all connections
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
        end(self._client)


class Stage:
    """`with Stage(folder) as stage: …`; at the end, every process is stopped.

    `folder` is emptied first. The board is installed but off; it downloads through `proxy`, which
    has no faults yet, and accepts only firmware signed with a key created here. With `stay`, the
    console uses its usual port if it is free.
    """

    def __init__(self, folder: Path, config: Mapping[str, object], stay: bool = False) -> None:
        self.folder = folder
        self._stay = stay
        self._config = config
        self._ends = ExitStack()

    def __enter__(self) -> Stage:
        with self._ends:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True)
            self._public = generate(self.folder / "owner.key", None)
            self._key = load_private(self.folder / "owner.key", str)
            self.cloud = self._ends.enter_context(self._make_cloud())
            self.proxy = self._ends.enter_context(Proxy("127.0.0.1", self.cloud.http_port))
            self.cloud.public_url = f"http://127.0.0.1:{self.proxy.port}"
            # The token is needed as soon as the console has a user.
            token = local_token(self.cloud.folder)
            self.api = self._ends.enter_context(Client(self.cloud.api_url, token))
            self.ear = Ear(self.cloud.mqtt_port)
            self._ends.callback(self.ear.close)
            self.board = self._ends.enter_context(self._make_board())
            self.board.install()
            self._ends = self._ends.pop_all()  # everything has started: only __exit__ stops it
        return self

    def _make_cloud(self) -> Cloud:
        # Use the port on which people expect a console, if it is free.
        port = 0
        if self._stay:
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", PORT))
                port = PORT
        return Cloud(self.folder / "cloud", http_port=port)

    def _make_board(self) -> Board:
        config: dict[str, Any] = {
            "product_id": PRODUCT,
            "device_name": NAME,
            "mqtt": {"host": "127.0.0.1", "port": self.cloud.mqtt_port},
            "keys": ["/owner.pub"],
            "target": TARGET,
            **self._config,
        }
        log = self._ends.enter_context((self.folder / "board.log").open("w", buffering=1))
        return Board(
            self.folder / "board",
            config=config,
            files={"/owner.pub": self._public},
            mpy=True,
            turns=True,
            console=lambda line: print(line, file=log),
        )

    def signer(self, sequence: int) -> Signer:
        """Return a signer with the key of the board's owner."""
        return Signer(self._key, sequence, TARGET)

    @property
    def device(self) -> dict[str, Any]:
        """Return the board's state in the cloud."""
        found: dict[str, Any] = self.api.device(f"{PRODUCT}/{NAME}")
        return found

    def power_on(self, until: float) -> str:
        """Start the board; return the version that it reports. Raises BoardError at `until`, a
        time.monotonic().
        """
        heard = len(self.ear.versions)
        self.board.power_on()
        while len(self.ear.versions) == heard or not self.known():
            self.look()
            if time.monotonic() > until:
                raise BoardError("the board does not connect\n" + self.board.tail())
            time.sleep(0.05)
        return self.ear.versions[-1]

    def known(self) -> bool:
        """Return whether the cloud knows the board."""
        try:
            return bool(self.device)
        except ApiError:
            return False

    def look(self) -> None:
        """Raise CloudError or BoardError if waiting is pointless."""
        self.cloud.wait(0)
        if not self.board.on or "REPL" in self.board.log[-1:]:
            raise BoardError("the board has stopped\n" + self.board.tail())

    def progress(self, version: str) -> list[dict[str, Any]]:
        """Return the cloud's reports of the update to that version.

        The board can repeat its last report of another version much later, until it is
        acknowledged.
        """
        reports = self.api.reports(self.device["id"])
        return [
            report
            for report in reports
            if report["kind"] == "report_progress" and report["version"] == version
        ]

    def states(self, version: str, pushed_at: float) -> list[State]:
        """Return the states of the update to that version; `pushed_at` is a time.time()."""
        found: list[State] = []
        for report in self.progress(version):
            if not found or found[-1].name != report["state"]:
                first_s = round(report["at"] - pushed_at, 1)
                why = f"{report['result_code']} {report['result_msg']}"
                failed = report["state"] == "fail"
                found.append(State(report["state"], first_s, why if failed else ""))
        return found

    def md5(self, path: str) -> str | None:
        """Hash a file on the board's flash while the board is off."""
        try:
            return hashlib.md5(self.board.read(path)).hexdigest()
        except FileNotFoundError:
            return None

    def __exit__(self, *_: object) -> None:
        self._ends.close()
