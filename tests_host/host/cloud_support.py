"""A device as the cloud sees one, on paho-mqtt and plain sockets; for the tests of the cloud."""

from __future__ import annotations

import hashlib
import json
import queue
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select, update
from waiting import WAIT_S, wait_until

from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.report_ingestion import STRAY
from ivota_tools.cloud.store import event_counters, models
from ivota_tools.cloud.store.models import Assignment
from ivota_tools.common.mqtt_disconnect import end


class Device:
    """Speaks the protocol with the types and qualities of service of docs/protocol.md."""

    def __init__(
        self,
        port: int,
        product_id: str,
        device_name: str,
        *,
        prefix: str = "$ota",
        user: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._prefix = prefix
        self.name = f"{product_id}/{device_name}"
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.raw: list[mqtt.MQTTMessage] = []
        self._subscribed = queue.Queue[int]()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, **options)
        if user:
            self._client.username_pw_set(*user)
        self._client.on_message = self._received
        self._client.on_socket_open = lambda _client, _data, link: link.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self._client.on_subscribe = lambda *_: self._subscribed.put(1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"{prefix}/update/{self.name}", 1)
        self._subscribed.get(timeout=WAIT_S)

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._client)

    def _received(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.raw.append(message)
        self.messages.put(json.loads(message.payload))

    def publish(self, payload: bytes, qos: int = 1, topic: str | None = None) -> None:
        topic = topic or f"{self._prefix}/report/{self.name}"
        self._client.publish(topic, payload, qos).wait_for_publish(WAIT_S)

    def retain(self, payload: bytes) -> None:
        self._client.publish(f"$ota/report/{self.name}", payload, 1, retain=True).wait_for_publish(
            WAIT_S
        )

    def report_version(self, version: str) -> None:
        self.publish(
            json.dumps({"type": "report_version", "report": {"version": version}}).encode()
        )

    def progress(self, version: str, state: str, **fields: str) -> None:
        progress = {"state": state, **fields}
        report = {"progress": progress, "version": version}
        payload = json.dumps({"type": "report_progress", "report": report}).encode()
        self.publish(payload, qos=0 if state == "downloading" else 1)

    def fail(self, version: str, code: int, message: str = "time_out") -> None:
        self.progress(version, "fail", result_code=str(code), result_msg=message)

    def expect(self, kind: str, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The next message, which must be of this type."""
        message = self.messages.get(timeout=timeout_s)
        assert message["type"] == kind, message
        return message

    def drain(self, cloud: Cloud) -> list[dict[str, Any]]:
        """All that has come, and what is still to come of what was said and is due."""
        settle(cloud, self)
        assert cloud._worker.session
        cloud._worker.session.publish(f"$ota/update/{self.name}", b'{"type": "the last"}', 1)
        found = []
        while (message := self.messages.get(timeout=WAIT_S))["type"] != "the last":
            found.append(message)
        self.raw.pop()
        return found

    def expect_nothing(self, cloud: Cloud) -> None:
        """Nothing has come, and nothing is to come: not even once a back-off is over."""
        assert self.drain(cloud) == []
        end_back_off(cloud, self)
        assert self.drain(cloud) == []

    def expect_later(self, cloud: Cloud, kind: str) -> dict[str, Any]:
        """As `expect`, of a message that comes once a back-off is over, and not before."""
        assert self.drain(cloud) == []
        end_back_off(cloud, self)
        return self.expect(kind)

    def hello(self, version: str) -> None:
        """Reports the version and takes the answer."""
        self.report_version(version)
        answer = self.expect("report_version_rsp")
        assert answer == {
            "type": "report_version_rsp",
            "result_code": 0,
            "result_msg": "success",
            "version": version,
            "cloud": "ivota",
        }

    def update(self, push: dict[str, Any], piece: int = 51200) -> bytes:
        """Fetches by ranges, reports each state, and returns the firmware."""
        version, size = push["version"], push["file_size"]
        data = b""
        with httpx.Client(timeout=WAIT_S) as http:
            self.progress(version, "downloading", percent="0", result_code="0", result_msg="")
            while len(data) < size:
                # One past the end at last, as some clients ask.
                header = {"Range": f"bytes={len(data)}-{len(data) + piece}"}
                answer = http.get(push["url"], headers=header)
                assert answer.status_code == 206, answer
                data += answer.content
                percent = str(100 * len(data) // size)
                self.progress(
                    version, "downloading", percent=percent, result_code="0", result_msg=""
                )
        assert hashlib.md5(data).hexdigest() == push["md5sum"]
        self.progress(version, "burning", result_code="0", result_msg="")
        self.progress(version, "done", result_code="0", result_msg="")
        return data


def settle(cloud: Cloud, device: Device) -> None:
    """Returns once the cloud has taken in what the device has said, has looked at its campaigns
    and at what is due, and has sent what came of that."""
    assert cloud._worker
    timed = cloud._worker.timed
    assert timed
    looks = timed.looks

    def strays() -> int:
        with cloud.database.reading() as session:
            return event_counters.totals(session).get(STRAY, 0)

    def batch() -> None:
        """Another one is stored, and what came of the one before is sent."""
        before = strays()
        device.publish(b"", topic="$ota/report/")  # nobody's
        wait_until(lambda: strays() > before, "a batch")

    def ticked() -> bool:
        batch()
        return timed.looks > looks and not timed.more

    wait_until(ticked, "a look at the campaigns")
    batch()


def end_back_off(cloud: Cloud, device: Device) -> None:
    """What waits for a time is due now, as if that had passed."""
    product_id, _, device_name = device.name.partition("/")
    of_device = select(models.Device.id).where(
        models.Device.product_id == product_id, models.Device.device_name == device_name
    )
    waiting = update(Assignment).where(
        Assignment.device_id.in_(of_device), Assignment.next_push_at.is_not(None)
    )
    with cloud.database.writing() as session:
        session.execute(waiting.values(next_push_at=0.0))
    assert cloud._worker.intake
    cloud._worker.intake.wake()


class Answer:
    """An HTTP answer off the wire; `rest` is what came behind its announced end."""

    def __init__(self, raw: bytes, head_only: bool = False) -> None:
        head, _, self.rest = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {
            key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:])
        }
        length = 0 if head_only else int(self.headers["content-length"])
        self.body, self.rest = self.rest[:length], self.rest[length:]


def exchange(url: str, *lines: str, method: str = "GET", http: str = "1.1") -> bytes:
    """All bytes of an answer until the server closes, to a request written by hand."""
    parts = urlsplit(url)
    request = [f"{method} {parts.path}?{parts.query} HTTP/{http}", *lines, "", ""]
    with socket.create_connection(
        (parts.hostname or "", parts.port or 80), timeout=WAIT_S
    ) as link:
        link.sendall("\r\n".join(request).encode())
        data = b""
        while piece := link.recv(65536):
            data += piece
        return data
