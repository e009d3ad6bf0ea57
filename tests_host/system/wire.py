"""The cloud's end of MQTT, message by message."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from waiting import WAIT_S

from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.sim import Board
from ivota_workshop.bench.download.stage import update_firmware

Json = dict[str, Any]
MARKER = b'{"type": "marker"}'


@dataclass(frozen=True)
class Message:
    """What a device published."""

    topic: str
    raw: bytes
    qos: int
    retain: bool
    at: float  # time.monotonic()

    @property
    def json(self) -> Json:
        return json.loads(self.raw)  # type: ignore[no-any-return]

    @property
    def kind(self) -> str:
        return str(self.json["type"])

    @property
    def state(self) -> str | None:
        """ "downloading", "burning", "done", "fail"; None for a version."""
        progress = self.json["report"].get("progress")
        return progress["state"] if progress else None

    @property
    def percent(self) -> int:
        return int(self.json["report"]["progress"]["percent"])


class Wire:
    """Hears `$ota/report/P/{name}` and speaks on `$ota/update/P/{name}`.

    It subscribes as MQTT 5 lets it, so that the retain flag of each message is the publisher's.
    """

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.messages: list[Message] = []
        self.from_cloud: list[Message] = []  # what another than this wire sent to the device
        self._changed = threading.Condition()
        self._marked = threading.Semaphore(0)
        self._marker_size = 30_000  # above what any test's board takes in
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_message = self._received
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        reports = SubscribeOptions(qos=2, retainAsPublished=True)
        others = SubscribeOptions(qos=2, noLocal=True)
        self._client.subscribe(
            [
                (f"$ota/report/P/{name}", reports),
                (f"$ota/update/P/{name}", others),
                (f"marker/{name}", 1),
            ]
        )
        assert subscribed.wait(WAIT_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._client)

    def _received(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.payload == MARKER:
            self._marked.release()
            return
        found = Message(
            message.topic, message.payload, message.qos, message.retain, time.monotonic()
        )
        with self._changed:
            if found.topic.startswith("$ota/report/"):
                self.messages.append(found)
            else:
                self.from_cloud.append(found)
            self._changed.notify_all()

    # --- towards the device

    def send(self, message: Json | bytes, qos: int = 0) -> None:
        """Publishes; at QoS 0 unless told, as the vendor's cloud does."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._client.publish(f"$ota/update/P/{self.name}", payload, qos).wait_for_publish(WAIT_S)

    def push(self, version: str, url: str, data: bytes, qos: int = 0, **fields: Any) -> None:
        """An `update_firmware` for `data`; a field given as None is left out."""
        message = {**update_firmware(version, url, data), **fields}
        self.send({key: value for key, value in message.items() if value is not None}, qos)

    def answer(self, version: str) -> None:
        """What a cloud says to a report of the version."""
        answer = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
        self.send({**answer, "version": version})

    def wait_taken(self, board: Board) -> None:
        """Waits until the board has taken in what was sent: next it logs the size of what is too
        long, which no other message has."""
        self._marker_size += 1
        self.send(b"?" * self._marker_size)
        board.wait_log(f"message_ignored.* has {self._marker_size} bytes", WAIT_S)

    # --- from the device

    def wait(
        self,
        wanted: Callable[[Message], object],
        what: str = "the message",
        after: int = 0,
    ) -> Message:
        """The first message from number `after` on that is wanted."""
        until = time.monotonic() + WAIT_S
        with self._changed:
            while True:
                for message in self.messages[after:]:
                    if wanted(message):
                        return message
                left = until - time.monotonic()
                said = b"\n".join(message.raw for message in self.messages).decode()
                assert left > 0, f"{what} did not come in {WAIT_S:g} s:\n{said}"
                self._changed.wait(left)

    def wait_state(self, state: str, after: int = 0) -> Message:
        return self.wait(lambda message: message.state == state, state, after)

    def wait_version(self, version: str, after: int = 0) -> Message:
        """Waits for a `report_version` of that version."""
        return self.wait(
            lambda message: message.json == report_version(version),
            f"version {version}",
            after,
        )

    def start(self, board: Board, version: str = "0.1") -> Message:
        """Switches the board on, and waits until it says that it runs this version."""
        heard = len(self.messages)
        board.power_on()
        return self.wait_version(version, after=heard)

    def settle(self, board: Board | None = None) -> list[Json]:
        """Return what still comes of all that was said: nothing, if nothing was due.

        The board takes in three more messages, one in each step, and so sends what it has queued.
        The broker delivers a marker after each, and so has read what the board sent before.
        """
        heard = len(self.messages)
        for _ in range(3):
            if board:
                self.wait_taken(board)
            self._client.publish(f"marker/{self.name}", MARKER, 1)
            assert self._marked.acquire(timeout=WAIT_S)
        return [message.json for message in self.messages[heard:]]

    def of(self, state: str) -> list[Message]:
        """All messages of a state, or of "version"."""
        return [each for each in self.messages if (each.state or "version") == state]

    def states(self) -> list[str]:
        """What was said in order, each run of equal states once; a version when it changed, since
        it is said at the interval too."""
        found: list[str] = []
        version = ""
        for message in self.messages:
            state = message.state
            if state is None:
                state = "version " + message.json["report"]["version"]
                if state == version:
                    continue
                version = state
            if not found or found[-1] != state:
                found.append(state)
        return found


def report_version(version: str) -> Json:
    return {"type": "report_version", "report": {"version": version}}


def report_progress(
    state: str, version: str, percent: str | None = None, code: str = "0", message: str = ""
) -> Json:
    """What a device says, with the types that the cloud expects."""
    progress = {"state": state, "result_code": code, "result_msg": message}
    if percent is not None:
        progress["percent"] = percent
    return {"type": "report_progress", "report": {"progress": progress, "version": version}}
