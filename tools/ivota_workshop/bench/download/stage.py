"""A board's environment in a measurement: broker, cloud, and a server that can misbehave."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ivota_tools.common.mqtt_disconnect import end

from ..traps.server import Peer, Server

WAIT_S = 60.0
_PIECE = 4096

Json = dict[str, Any]


def update_firmware(version: str, url: str, data: bytes) -> Json:
    """Return the cloud's push message for a firmware."""
    return {
        "type": "update_firmware",
        "version": version,
        "url": url,
        "file_size": len(data),
        "md5sum": hashlib.md5(data).hexdigest(),
        "user_defined": "-",
    }


class Cloud:
    """The cloud's MQTT client for the device P/`name`: receives its reports and pushes updates."""

    def __init__(self, port: int, name: str) -> None:
        self._name = name
        self._said: list[Json] = []
        self._wanted: Json | None = None
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._heard
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"$ota/report/P/{name}", 1)
        if not subscribed.wait(WAIT_S):
            raise TimeoutError("the broker does not answer")

    def __enter__(self) -> Cloud:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._client)

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        said = json.loads(message.payload)
        with self._changed:
            self._said.append(said)
            self._changed.notify_all()
        wanted = self._wanted
        if wanted and said["type"] == "report_version":
            if said["report"]["version"] != wanted["version"]:
                self._publish(wanted)

    @property
    def heard(self) -> int:
        """Return how many reports have arrived."""
        return len(self._said)

    def push(self, push: Json) -> None:
        """Push with QoS 0, like the vendor's cloud."""
        self._publish(push).wait_for_publish(WAIT_S)

    def want(self, push: Json | None) -> None:
        """Push, and again after each report of another version; None: push no more."""
        self._wanted = push
        if push:
            self.push(push)

    def _publish(self, push: Json) -> mqtt.MQTTMessageInfo:
        return self._client.publish(f"$ota/update/P/{self._name}", json.dumps(push), 0)

    def wait_version(self, version: str, after: int = 0, timeout_s: float = WAIT_S) -> int:
        """Wait until that version is reported; return the number of reports up to it."""
        wanted = {"type": "report_version", "report": {"version": version}}
        return self._wait(lambda each: each == wanted, version, after, timeout_s)

    def wait_end(self, version: str, after: int = 0, timeout_s: float = WAIT_S) -> Json:
        """Wait for `done` or `fail` of that version; return its `progress`."""

        def ended(message: Json) -> bool:
            report = message["report"]
            state = report.get("progress", {}).get("state")
            return report["version"] == version and state in ("done", "fail")

        number = self._wait(ended, f"the end of {version}", after, timeout_s)
        progress: Json = self._said[number - 1]["report"]["progress"]
        return progress

    def wait_percent(self, version: str, percent: int, after: int = 0) -> None:
        """Wait until the download of that version has reached `percent`."""

        def reached(message: Json) -> bool:
            report = message["report"]
            said = report.get("progress", {}).get("percent", "0")
            return report["version"] == version and int(said) >= percent

        self._wait(reached, f"{percent} % of {version}", after, WAIT_S)

    def _wait(self, wanted: Any, what: str, after: int, timeout_s: float) -> int:
        until = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for number in range(after, len(self._said)):
                    if wanted(self._said[number]):
                        return number + 1
                after = max(after, len(self._said))
                left = until - time.monotonic()
                if left <= 0:
                    last = self._said[-3:]
                    raise TimeoutError(f"{what} was not reported in {timeout_s:g} s; last: {last}")
                self._changed.wait(left)


@dataclass(frozen=True)
class Answer:
    """How the server responds to a request; the defaults are correct behaviour.

    `status`: respond with this status and an error page, and `retry_after` seconds to wait.
    `whole`: 200 and the whole file, whatever range was requested. `ends_after`: bytes from the
    requested offset, followed by the end of the stream ("fin"), a reset ("rst"), endless silence
    ("silence"), or a pause of `stall_s` seconds ("stall") and `more` bytes; None: the rest.
    """

    status: int = 0
    retry_after: int | None = None
    whole: bool = False
    ends_after: int | None = None
    end: str = "fin"
    stall_s: float = 1.0
    more: int | None = None


GOOD = Answer()


@dataclass
class Request:
    """A request, its response, and the number of bytes of head and body that were sent."""

    first: int
    answer: Answer
    head: int = 0
    body: int = 0


@dataclass
class Origin:
    """A server of one file. Each request takes one of `answers`; afterwards all responses are
    good.

    `segment`: bytes of one packet, and `rate`: bytes per second, for data that is sent in
    segments.
    """

    data: bytes = b""
    answers: list[Answer] = field(default_factory=list)
    segment: int | None = None
    rate: float = 0
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = Server(self._serve, self._serve, 0)

    def __enter__(self) -> Origin:
        self._server.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    @property
    def port(self) -> int:
        return self._server.port

    def serve(self, data: bytes, answers: Sequence[Answer] = ()) -> None:
        """Serve `data` from now on, and clear the recorded requests."""
        self.data, self.answers, self.requests = data, list(answers), []

    def url(self, port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.port}/firmware"

    def _serve(self, peer: Peer) -> None:
        _, first = peer.request()
        request = Request(first, self.answers.pop(0) if self.answers else GOOD)
        self.requests.append(request)
        answer = request.answer
        size = len(self.data)
        if answer.status:
            page = b"<html>an error page</html>" * 100
            lines = [f"HTTP/1.1 {answer.status} No", f"Content-Length: {len(page)}"]
            if answer.retry_after is not None:
                lines.append(f"Retry-After: {answer.retry_after}")
            self._send(peer, request, _head(lines), page)
        elif answer.whole:
            lines = ["HTTP/1.1 200 OK", f"Content-Length: {size}"]
            self._send(peer, request, _head(lines), self.data, first)
        else:
            lines = [
                "HTTP/1.1 206 Partial Content",
                f"Content-Range: bytes {first}-{size - 1}/{size}",
                f"Content-Length: {size - first}",
            ]
            self._send(peer, request, _head(lines), self.data[first:])

    def _send(
        self, peer: Peer, request: Request, head: bytes, body: bytes, before: int = 0
    ) -> None:
        """Send a body; `before`: bytes of the body that were not requested."""
        answer = request.answer
        # Keep few bytes in transit, so that about as many are received as were sent.
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        peer.send(head)
        request.head = len(head)
        if answer.ends_after is None:
            self._pour(peer, request, body)
            return
        try:
            self._pour(peer, request, body[: before + answer.ends_after])
        except OSError:
            self.answers.insert(0, answer)  # the client left first: keep it for the next request
            raise
        if answer.end == "rst":
            linger = struct.pack("ii", 1, 0)
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            peer.sock.close()
        elif answer.end == "silence":
            peer.hold()
        elif answer.end == "stall":
            time.sleep(answer.stall_s)
            rest = body[before + answer.ends_after :]
            self._pour(peer, request, rest[: answer.more])

    def _pour(self, peer: Peer, request: Request, body: bytes) -> None:
        size = self.segment or _PIECE
        begun, sent = time.monotonic(), 0
        for at in range(0, len(body), size):
            peer.send(body[at : at + size])
            sent += len(body[at : at + size])
            request.body += len(body[at : at + size])
            if self.rate:
                early = begun + sent / self.rate - time.monotonic()
                if early > 0:
                    time.sleep(early)


def _head(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in [*lines, "Connection: close", ""]).encode()
