"""Whole updates in the dialect of Aliyun's IoT Platform, with a scripted cloud that speaks it.

The cloud says what Aliyun's documents have: a push comes once, when the device is online and
wants it; the answer to a question brings what is still due, with a fresh URL.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mosquittos
import paho.mqtt.client as mqtt
import pytest
from badserver import BadServer, Step
from board_support import MakeBoard
from paho.mqtt.enums import CallbackAPIVersion
from waiting import WAIT_S

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.firmware.release import pack

EXAMPLE = Path(__file__).parents[2] / "examples" / "thermometer"


class Aliyun:
    """The OTA service for one device; `job` is the update that is due: (version, data, url)."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.said: list[tuple[str, Any]] = []  # topic without the names, params
        self.job: tuple[str, bytes, str] | None = None
        self.status = ""
        self._pushed = False
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._received
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(
            [
                (f"/ota/device/inform/P/{name}", 1),
                (f"/ota/device/progress/P/{name}", 1),
                (f"/sys/P/{name}/thing/ota/firmware/get", 1),
            ]
        )
        assert subscribed.wait(WAIT_S)

    def close(self) -> None:
        end(self._client)

    def start(self, version: str, data: bytes, url: str) -> None:
        """What the console's button does: the device is online, and gets a push."""
        with self._changed:
            self.job, self.status, self._pushed = (version, data, url), "pushed", True
        self._say(f"/ota/device/upgrade/P/{self.name}", "1000", self._package())

    def _package(self) -> dict[str, Any]:
        assert self.job
        version, data, url = self.job
        md5 = hashlib.md5(data).hexdigest()
        return {
            "size": len(data),
            "version": version,
            "url": url,
            "md5": md5,
            "sign": md5,
            "signMethod": "Md5",
            "extData": {"_package_udi": "{}"},
        }

    def _say(self, topic: str, code: object, data: dict[str, Any], id: str = "1") -> None:
        message = {"id": id, "code": code, "message": "success", "data": data}
        self._client.publish(topic, json.dumps(message))

    def _received(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.split("/")[3 if message.topic.startswith("/ota") else -1]
        said = json.loads(message.payload)
        assert isinstance(said["id"], str) and 0 <= int(said["id"]) < 1 << 32
        params = said["params"]
        with self._changed:
            self.said.append((kind, params))
            due = self.job and self.status not in ("done", "failed")
            if kind == "inform" and due and self.job and params["version"] == self.job[0]:
                self.status = "done"
            elif kind == "progress" and due:
                step = int(params["step"])
                assert -4 <= step <= 100 and step and isinstance(params["desc"], str)
                self.status = "failed" if step < 0 else "updating"
            elif kind == "get":
                answer = self._package() if due else {}
                self._say(
                    f"/sys/P/{self.name}/thing/ota/firmware/get_reply", 200, answer, said["id"]
                )
            self._changed.notify_all()

    def wait(self, status: str) -> None:
        with self._changed:
            fine = self._changed.wait_for(lambda: self.status == status, WAIT_S)
        assert fine, f"{self.status}, not {status}: {self.said}"

    def wait_said(self, wanted: tuple[str, Any]) -> None:
        with self._changed:
            fine = self._changed.wait_for(lambda: wanted in self.said, WAIT_S)
        assert fine, f"{wanted} was not said: {self.said}"

    def wait_step(self, least: int) -> None:
        with self._changed:
            fine = self._changed.wait_for(lambda: max(self.steps(), default=0) >= least, WAIT_S)
        assert fine, f"step {least} did not come: {self.said}"

    def steps(self) -> list[int]:
        return [int(params["step"]) for kind, params in self.said if kind == "progress"]


@pytest.fixture
def aliyun(broker: Broker, name: str) -> Iterator[Aliyun]:
    result = Aliyun(broker.port, name)
    yield result
    result.close()


def bundle(folder: Path) -> bytes:
    out = folder / "0.2.bin"
    pack(EXAMPLE, "0.2", out=out, application="thermometer", pad_to=200_000)
    return out.read_bytes()


def test_an_update_that_a_power_cut_interrupts(
    agent: MakeBoard, aliyun: Aliyun, server: BadServer, tmp_path: Path
) -> None:
    """After the start it asks, is told again, resumes, and says its new version."""
    data = bundle(tmp_path)
    url = server.add("/f", data)
    server.rate = 60_000  # there is a second report of progress
    board = agent(dialect="aliyun")
    board.power_on()
    aliyun.wait_said(("inform", {"version": "0.1"}))
    aliyun.wait_said(("get", {}))
    aliyun.start("0.2", data, url)
    aliyun.wait_step(10)
    board.power_cut()
    server.rate = None
    board.power_on()
    aliyun.wait("done")
    aliyun.wait_said(("progress", {"step": "100", "desc": "done"}))
    first, second = server.asked("/f")
    assert first.first == 0 < second.first < len(data)
    steps = aliyun.steps()
    assert steps[0] == 1 and min(steps) >= 1
    assert board.read("/firmware/0.2.bin") == data
    assert aliyun.said.index(("inform", {"version": "0.2"})) > 0
    board.stop()
    assert json.loads(board.read("/ivota-state.json"))["answered"]


@pytest.mark.parametrize(
    ("steps", "changed", "step"),
    (
        ([Step(status=404)], False, -2),
        ([], True, -3),  # other bytes than the MD5 says
    ),
    ids=("not there", "wrong bytes"),
)
def test_failures(
    agent: MakeBoard,
    aliyun: Aliyun,
    server: BadServer,
    tmp_path: Path,
    steps: list[Step],
    changed: bool,
    step: int,
) -> None:
    data = bundle(tmp_path)
    served = data[:-1] + bytes([data[-1] ^ 1]) if changed else data
    board = agent(dialect="aliyun")
    board.power_on()
    aliyun.wait_said(("get", {}))
    aliyun.start("0.2", data, server.add("/f", served, steps))
    aliyun.wait("failed")
    assert aliyun.steps()[-1] == step


def test_an_expired_url_brings_a_question(
    agent: MakeBoard, aliyun: Aliyun, server: BadServer, tmp_path: Path
) -> None:
    data = bundle(tmp_path)
    server.add("/f", data, [Step(close_after=100_000), Step(status=403)])
    board = agent(dialect="aliyun")
    board.power_on()
    aliyun.wait_said(("get", {}))
    aliyun.start("0.2", data, server.url("/f"))
    aliyun.wait("done")
    assert [each.status for each in server.asked("/f")] == [206, 403, 206]


def test_signing_in(agent: MakeBoard, tmp_path: Path, name: str) -> None:
    """A broker that takes only what the platform makes of a device's secret."""
    secret = "not much of a secret"
    signed = f"clientId{name}deviceName{name}productKeyP"
    password = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    users = tmp_path / "users"
    users.write_text(mosquittos.password_line(f"{name}&P", password))
    settings = "allow_anonymous false", f"password_file {users}"
    with mosquittos.running(tmp_path, *settings) as strict:
        cloud = Aliyun(strict.open_port, name)
        try:
            board = agent(dialect="aliyun", device_secret=secret, port=strict.port)
            board.power_on()
            cloud.wait_said(("inform", {"version": "0.1"}))
        finally:
            cloud.close()
