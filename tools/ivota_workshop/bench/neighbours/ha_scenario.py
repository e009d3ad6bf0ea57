"""Events of a board that Home Assistant watches, with a cloud, a broker and a scripted board.

`run` calls `check(step, state)` after each step, with the state that the broker must have. The
tests compare the messages with ha_expected.json; ha_soak.py asks Home Assistant itself.
"""

from __future__ import annotations

import contextlib
import json
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.home_assistant.discovery import BIRTH
from ivota_tools.common.mqtt_disconnect import end

from .ddi_stage import WAIT_S, Unexpected

PRODUCT, NAME = "HOME", "kitchen"
Json = dict[str, Any]


@dataclass
class Listener:
    """A client of Home Assistant's broker: the messages for it, and its button.

    `messages` are the last ones by topic, None for an empty one; `availability` is the entity's.
    """

    folder: Path
    mqtt_port: int
    messages: dict[str, Json | None] = field(default_factory=dict)
    availability: str = ""
    heard: queue.Queue[mqtt.MQTTMessage] = field(default_factory=queue.Queue)
    broker: mqtt.Client | None = None

    @contextlib.contextmanager
    def listening(
        self, *topics: str, user: str | None = None, password: str | None = None
    ) -> Iterator[None]:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(user, password)
        client.on_message = lambda _client, _data, message: self.heard.put(message)
        wanted = [(topic, 1) for topic in topics]
        client.on_connect = lambda client, *_: client.subscribe(wanted)  # in each session
        client.connect("127.0.0.1", self.mqtt_port)
        client.loop_start()
        self.broker = client
        try:
            yield
        finally:
            end(client)

    def publish(self, topic: str, payload: str) -> None:
        assert self.broker
        self.broker.publish(topic, payload, 1).wait_for_publish(WAIT_S)

    def hear(self, until: Callable[[dict[str, Json | None]], bool], what: str) -> None:
        """Receive messages until they are as expected."""
        deadline = time.monotonic() + WAIT_S
        while not until(self.messages):
            try:
                message = self.heard.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                last = self.availability, self.messages
                raise Unexpected(f"{what}: the last messages are {last}") from None
            text = message.payload.decode(errors="replace")
            if message.topic.endswith(("/config", "/state")):
                self.messages[message.topic] = json.loads(text) if text else None
            elif message.topic.endswith("/status") and message.topic != BIRTH:
                self.availability = text

    def topics(self, kind: str) -> list[str]:
        return [topic for topic in self.messages if topic.endswith(f"/{kind}")]

    def state(self) -> Json:
        """Return the state of the board's entity, without the parts that differ between runs."""
        found = next((self.messages[topic] for topic in self.topics("state")), None) or {}
        return {key: value for key, value in found.items() if key != "release_url"}

    def wait_for(self, **wanted: Any) -> Json:
        def reached(_messages: object) -> bool:
            found = self.state()
            return all(found.get(key) == value for key, value in wanted.items())

        self.hear(reached, f"{wanted}")
        return self.state()

    def press_install(self) -> None:
        topics = [topic for topic in self.topics("config") if "/update/" in topic]
        config = self.messages[topics[0]]
        assert config
        self.publish(config["command_topic"], config["payload_install"])

    def node(self) -> str:
        return next(topic.split("/")[2] for topic in self.topics("config") if "/update/" in topic)


@dataclass(kw_only=True)
class Stage(Listener):
    cloud: Cloud
    api: Client

    @classmethod
    @contextlib.contextmanager
    def open(cls, mode: str = "install") -> Iterator[Stage]:
        with tempfile.TemporaryDirectory(prefix="ivota-ha-") as name:
            folder = Path(name)
            with (
                Cloud(folder / "cloud", home_assistant=mode, make_deltas=False) as cloud,
                Client(cloud.api_url) as api,
            ):
                stage = cls(folder, cloud.mqtt_port, cloud=cloud, api=api)
                with stage.listening("homeassistant/#", f"{stage.base}/#"):
                    yield stage

    @property
    def base(self) -> str:
        assert self.cloud._worker
        return self.cloud._worker.client_id

    def report(self, kind: str, **report: Any) -> None:
        self.publish(f"$ota/report/{PRODUCT}/{NAME}", json.dumps({"type": kind, "report": report}))

    def progress(self, version: str, state: str, **fields: str) -> None:
        self.report("report_progress", version=version, progress={"state": state, **fields})

    def upload(self, version: str) -> None:
        path = self.folder / "f.bin"
        path.write_bytes(version.encode() * 100)
        self.api.upload(path, version)

    def normalized(self, value: Any) -> Any:
        """Return messages without the parts that each cloud makes up."""
        text = json.dumps(value).replace(self.node(), "NODE").replace(self.base, "BASE")
        return json.loads(text.replace(self.cloud.public_url, "URL"))


def run(stage: Stage, check: Callable[[str, Json], None]) -> None:
    stage.report("report_version", version="0.1")
    check("a board", stage.wait_for(installed_version="0.1", latest_version="0.1"))
    stage.upload("0.2")
    check("a newer firmware", stage.wait_for(latest_version="0.2"))
    stage.press_install()
    check("the button", stage.wait_for(in_progress=True))
    stage.progress("0.2", "downloading", percent="50")
    check("half of the download", stage.wait_for(update_percentage=50))
    stage.progress("0.2", "burning")
    check("the installation", stage.wait_for(update_percentage=None, in_progress=True))
    stage.report("report_version", version="0.2")
    stage.progress("0.2", "done")
    check("the end", stage.wait_for(installed_version="0.2", in_progress=False))
    stage.upload("0.3")
    stage.wait_for(latest_version="0.3")
    made = stage.api.create_campaign(
        name="careful", version="0.3", query="all", stages=[{"percent": 100}]
    )
    stage.wait_for(in_progress=True)
    stage.api.pause_campaign(made["id"])
    stage.api.cancel_device(stage.api.device(f"{PRODUCT}/{NAME}")["id"])
    stage.wait_for(in_progress=False)
    stage.press_install()
    refused = "Not installed: "
    stage.hear(lambda _: stage.state()["release_summary"].startswith(refused), "a refusal")
    check("a campaign forbids it", stage.state())
    stage.api.delete_device(stage.api.device(f"{PRODUCT}/{NAME}")["id"])
    stage.hear(lambda found: None in [found[topic] for topic in stage.topics("state")], "removal")
    check("the board is deleted", {})
