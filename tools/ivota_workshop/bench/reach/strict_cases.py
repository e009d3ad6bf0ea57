"""Run a strict client against our cloud, case by case; each case raises if it fails."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud

from .strict_client import (
    HEAD_MOST,
    WAIT_S,
    Answer,
    HttpLink,
    MqttLink,
    NotUnderstood,
    Push,
    StrictDevice,
    connect_packet,
    read_push,
    subscribe_packet,
)

SIZE = 300_001
VERSION = "0.2"
PRODUCT = "STRICT0001"


@dataclass
class Stage:
    """A cloud with one firmware; each case adds the devices that it needs."""

    cloud: Cloud
    api: Client
    data: bytes
    url: str = ""
    devices: int = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Stage]:
        with tempfile.TemporaryDirectory(prefix="ivota-reach-") as name:
            folder, data = Path(name), os.urandom(SIZE)
            (folder / "f.bin").write_bytes(data)
            with Cloud(folder / "cloud") as cloud, Client(cloud.api_url) as api:
                api.upload(folder / "f.bin", VERSION)
                stage = cls(cloud, api, data)
                with stage.device() as device:
                    device.hello("0.1")
                    api.push(device.name, VERSION)
                    stage.url = device.pushed().url
                yield stage

    @contextlib.contextmanager
    def link(self) -> Iterator[MqttLink]:
        with socket.create_connection(("127.0.0.1", self.cloud.mqtt_port), WAIT_S) as link:
            link.settimeout(WAIT_S)
            yield MqttLink(link)

    @contextlib.contextmanager
    def device(self, name: str | None = None, qos: int = 1) -> Iterator[StrictDevice]:
        self.devices += name is None
        name = name or f"dev{self.devices}"
        with self.link() as link:
            _expect(link.connect(PRODUCT + name), 0)
            yield StrictDevice(link, f"{PRODUCT}/{name}", qos)

    def state(self, device: StrictDevice) -> str:
        return str(self.api.device(device.name)["state"])

    def wait_state(self, device: StrictDevice, state: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.state(device) != state:
            if time.monotonic() > deadline:
                raise NotUnderstood(f"{self.state(device)}, not {state}")
            time.sleep(0.02)


Case = Callable[[Stage], None]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[name] = function
        return function

    return keep


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise NotUnderstood(f"{found!r}, not {expected!r}")


def _part(stage: Stage, answer: Answer, start: int, end: int) -> None:
    """Return a 206 response with these bytes."""
    _expect(answer.status, 206)
    _expect(answer.text("Content-Range"), f"bytes {start}-{end - 1}/{SIZE}")
    _expect(answer.body == stage.data[start:end], True)


def _range(name: str, asked: str, start: int, end: int) -> None:
    @case(name)
    def fetch(stage: Stage) -> None:
        with HttpLink(stage.url) as http:
            _part(stage, http.ask(http.request(f"Range: bytes={asked}")), start, end)


_range("range of all, open", "0-", 0, SIZE)
_range("range of all, to the last byte", f"0-{SIZE - 1}", 0, SIZE)
_range("range of all, one past the end", f"0-{SIZE}", 0, SIZE)
_range("range from the middle, one past the end", f"150000-{SIZE}", 150000, SIZE)
_range("range of a piece", "51200-102399", 51200, 102400)
_range("range of the last byte", f"{SIZE - 1}-{SIZE}", SIZE - 1, SIZE)


def _whole(name: str, *lines: str, **options: str) -> None:
    @case(name)
    def fetch(stage: Stage) -> None:
        with HttpLink(stage.url) as http:
            answer = http.ask(http.request(*lines, **options))
            _expect(answer.status, 200)
            _expect(answer.body == stage.data, True)
            if options.get("http") == "1.0" or "Connection: close" in lines:
                _expect(http.is_closed(), True)


_whole("no range")
_whole("HTTP/1.0", http="1.0")
_whole("HTTP/1.0 that would keep the connection", "Connection: Keep-Alive", http="1.0")
_whole("Connection: close", "Connection: close")
_whole("Connection: Keep-Alive", "Connection: Keep-Alive")
_whole("gzip accepted", "Accept-Encoding: gzip, deflate")
_whole("a Host with a path", host="127.0.0.1:80/files/1")
_whole("a Host of another name", host="other.example")
_whole("a Host of blanks", host=" ")
_whole("a content type in a GET", "Content-Type: text/plain", "Content-Length: 0")


@case("names in lower case, no blanks")
def _lower(stage: Stage) -> None:
    with HttpLink(stage.url) as http:
        request = f"GET {http.target} HTTP/1.1\r\nhost:x\r\nrange:bytes=7-\r\n\r\n"
        _part(stage, http.ask(request.encode()), 7, SIZE)


@case("a request that comes byte by byte")
def _slow(stage: Stage) -> None:
    with HttpLink(stage.url) as http:
        for byte in http.request("Range: bytes=100-199"):
            http.link.sendall(bytes([byte]))
        _part(stage, http.read(), 100, 200)


@case("a head in one piece")
def _head_at_once(stage: Stage) -> None:
    """Some clients call receive only twice, and must have the complete head by then."""
    with HttpLink(stage.url) as http:
        http.link.sendall(http.request("Range: bytes=0-"))
        _expect(b"\r\n\r\n" in http.link.recv(HEAD_MOST), True)


@case("many pieces on one connection")
def _pieces(stage: Stage) -> None:
    with HttpLink(stage.url) as http:
        for start in range(0, SIZE, 51200):
            end = min(start + 51200, SIZE)
            answer = http.ask(http.request(f"Range: bytes={start}-{start + 51199}"))
            _part(stage, answer, start, end)


@case("two requests at once")
def _pipeline(stage: Stage) -> None:
    with HttpLink(stage.url) as http:
        first, second = (http.request(f"Range: bytes={n}-{n + 9}") for n in (0, 10))
        _part(stage, http.ask(first + second), 0, 10)
        _part(stage, http.read(), 10, 20)


@case("HEAD, then GET")
def _head(stage: Stage) -> None:
    with HttpLink(stage.url) as http:
        answer = http.ask(http.request(method="HEAD"), head_only=True)
        _expect((answer.status, answer.text("Content-Length")), (200, str(SIZE)))
        _expect(answer.text("Accept-Ranges"), "bytes")
        _part(stage, http.ask(http.request(f"If-Range: {answer.text('ETag')}", "Range: bytes=9-")),
              9, SIZE)  # fmt: skip


def _refusal(name: str, status: int, request: Callable[[HttpLink], bytes]) -> None:
    @case(name)
    def fetch(stage: Stage) -> None:
        with HttpLink(stage.url) as http:
            _expect(http.ask(request(http)).status, status)


_refusal("nothing left: 416", 416, lambda http: http.request(f"Range: bytes={SIZE}-{SIZE}"))
_refusal("a wrong signature: 403", 403, lambda http: http.request().replace(b"sign=", b"sign=0"))
_refusal("no such place: 404", 404, lambda http: http.request().replace(b"/files/", b"/nothing/"))
_refusal("a method that is none: 405", 405, lambda http: http.request(method="DELETE"))
_refusal("no request: 400", 400, lambda http: b"what is this\r\n\r\n")


@case("CONNECT of MQTT 3.1")
def _old(stage: Stage) -> None:
    with stage.link() as link:
        _expect(link.connect(PRODUCT + "old", old=True), 0)


@case("CONNECT and SUBSCRIBE in one segment")
def _at_once(stage: Stage) -> None:
    with stage.link() as link:
        topic = f"$ota/update/{PRODUCT}/at-once"
        link.link.sendall(connect_packet(PRODUCT + "at-once") + subscribe_packet(topic))
        _expect(link.connected(), 0)
        link.subscribed(1)


@case("the answer to a version, byte for byte")
def _answer(stage: Stage) -> None:
    with stage.device() as device:
        for version in ("0.1", "v1.0-rc+2", "é", "版本"):
            device.hello(version)


def _push(stage: Stage, device: StrictDevice) -> Push:
    device.hello("0.1")
    stage.api.push(device.name, VERSION)
    return device.pushed()


@case("a push's text, order and types")
def _text_of_push(stage: Stage) -> None:
    with stage.device() as device:
        device.hello("0.1")
        stage.api.push(device.name, VERSION)
        message = device.mqtt.next()
        push = read_push(message.text)
        text = (
            f'{{"type":"update_firmware","version":"{VERSION}","url":"{push.url}",'
            f'"file_size":{SIZE},"md5sum":"{push.md5sum}","user_defined":"{push.user_defined}"}}'
        )
        _expect((message.text, message.retained), (text, False))


@case("a URL of the usual port does not name it")
def _usual_port(stage: Stage) -> None:
    """Some clients look up `host:80` as a name, and use port 80 or 443 whatever the URL says."""
    for given, said in (
        ("http://a.example:80", "http://a.example/files/"),
        ("https://a.example:443/under/", "https://a.example/under/files/"),
        ("http://[::1]:80", "http://[::1]/files/"),
        ("http://a.example:8080", "http://a.example:8080/files/"),
        ("https://a.example:80", "https://a.example:80/files/"),
    ):
        with stage.device() as device:
            device.hello("0.1")
            before = stage.cloud.public_url
            stage.cloud.public_url = given
            try:
                stage.api.push(device.name, VERSION)
                _expect(device.pushed().url[: len(said)], said)
            finally:
                stage.cloud.public_url = before


@case("a subscription with QoS 0")
def _qos_0(stage: Stage) -> None:
    with stage.device(qos=0) as device:
        device.hello("0.1")
        stage.api.push(device.name, VERSION)
        _expect(device.mqtt.next().qos, 0)


@case("the push again after each report")
def _again(stage: Stage) -> None:
    with stage.device() as device:
        first = _push(stage, device)
        device.hello("0.1")
        _expect(device.pushed().md5sum, first.md5sum)


@case("a whole update")
def _update(stage: Stage) -> None:
    with stage.device() as device:
        _expect(device.update(_push(stage, device)) == stage.data, True)
        stage.wait_state(device, "done")
        device.hello(VERSION)
        _expect(device.mqtt.is_quiet(), True)


@case("an update that is cut and resumed")
def _resumed(stage: Stage) -> None:
    with stage.device() as device:
        have = device.update(_push(stage, device), stop_at=123_456)
        name = device.name.partition("/")[2]
    with stage.device(name) as device:
        device.hello("0.1")
        _expect(device.update(device.pushed(), have=have) == stage.data, True)
        stage.wait_state(device, "done")


@case("a failure is heard, and the push comes again")
def _failure(stage: Stage) -> None:
    with stage.device() as device:
        first = _push(stage, device)
        device.update(first, stop_at=1000)
        device.fail(first.version, -4)
        stage.wait_state(device, "retry")
        stage.api.retry_device(stage.api.device(device.name)["id"])
        _expect(device.update(device.pushed()) == stage.data, True)
        stage.wait_state(device, "done")
