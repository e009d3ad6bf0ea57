"""A device that parses bytes like an embedded C client, which rejects even some legal input.

It recognizes headers only in their usual case, supports no chunks, and no blanks or escapes in
JSON. It stores the head of an HTTP response in 1,023 bytes, a URL in 999, a message in 2,048.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WAIT_S = 60.0
HEAD_MOST = 1023
URL_MOST = 999
MESSAGE_MOST = 2048


class NotUnderstood(Exception):
    """The client cannot parse its input; the text says why."""


@dataclass
class Answer:
    status: int
    head: bytes
    body: bytes

    def text(self, name: str) -> str:
        """Return a header's value, found in exactly this case with one blank."""
        return _find(self.head, name)


def _find(head: bytes, name: str) -> str:
    marker = b"\r\n" + name.encode() + b": "
    at = head.find(marker)
    if at < 0:
        raise NotUnderstood(f"no {name} in {head!r}")
    return head[at + len(marker) : head.index(b"\r\n", at + 2)].decode("ascii")


class HttpLink:
    """One connection; `link` may be an existing TLS socket."""

    def __init__(self, url: str, link: socket.socket | None = None) -> None:
        parts = urlsplit(url)
        self.target = f"{parts.path}?{parts.query}"
        self.host = parts.netloc
        self.link = link or socket.create_connection(
            (parts.hostname or "", parts.port or 80), timeout=WAIT_S
        )
        self._rest = b""

    def __enter__(self) -> HttpLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def request(
        self, *lines: str, method: str = "GET", http: str = "1.1", host: str | None = None
    ) -> bytes:
        first = [f"{method} {self.target} HTTP/{http}", f"Host: {host or self.host}"]
        return "\r\n".join([*first, *lines, "", ""]).encode()

    def ask(self, request: bytes, *, head_only: bool = False) -> Answer:
        self.link.sendall(request)
        return self.read(head_only=head_only)

    def read(self, *, head_only: bool = False) -> Answer:
        """Read the next response on this connection. Raises NotUnderstood, OSError."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            if len(data) > HEAD_MOST:
                raise NotUnderstood(f"a head of more than {HEAD_MOST} bytes")
            data += self._more()
        head, _, data = data.partition(b"\r\n\r\n")
        if len(head) + 4 > HEAD_MOST:
            raise NotUnderstood(f"a head of {len(head)} bytes")
        first = re.match(rb"HTTP/1\.[01] ([0-9]{3}) ", head)
        if not first:
            raise NotUnderstood(f"no status in {head[:40]!r}")
        if b"\n" in head.replace(b"\r\n", b"") or b"Transfer-Encoding" in head:
            raise NotUnderstood(f"{head!r}")
        head += b"\r\n"
        length = _find(head, "Content-Length")
        if not re.fullmatch("[0-9]+", length) or head.count(b"\r\nContent-Length: ") != 1:
            raise NotUnderstood(f"a Content-Length of {length!r}")
        left = 0 if head_only else int(length)
        while len(data) < left:
            data += self._more()
        self._rest = data[left:]
        return Answer(int(first[1]), head, data[:left])

    def is_closed(self) -> bool:
        """Return whether the server closes the connection without sending anything more."""
        return not self._rest and self.link.recv(1) == b""

    def _more(self) -> bytes:
        piece = self.link.recv(8192)
        if not piece:
            raise NotUnderstood("the connection ended in an answer")
        return piece


@dataclass(frozen=True)
class Push:
    version: str
    url: str
    file_size: int
    md5sum: str
    user_defined: str


@dataclass(frozen=True)
class Message:
    topic: str
    text: str
    qos: int
    retained: bool


def read_push(text: str) -> Push:
    """Parse a push from the message's text. Raises NotUnderstood."""
    if len(text) >= MESSAGE_MOST or '"type":"update_firmware"' not in text or "\\" in text:
        raise NotUnderstood(f"no push: {text!r}")
    size = re.search(r'"file_size":([0-9]+)[,}]', text)
    if not size:
        raise NotUnderstood(f"no number as file_size: {text!r}")
    url = _string(text, "url")
    if len(url) > URL_MOST:
        raise NotUnderstood(f"a URL of {len(url)} characters")
    names = ("version", "md5sum", "user_defined")
    version, md5sum, user_defined = (_string(text, name) for name in names)
    return Push(version, url, int(size[1]), md5sum, user_defined)


def _string(text: str, name: str) -> str:
    found = re.search(rf'"{name}":"([^"]+)"', text)
    if not found:
        raise NotUnderstood(f"no {name} in {text!r}")
    return found[1]


@dataclass
class MqttLink:
    """A minimal MQTT client on an existing connection."""

    link: socket.socket
    _data: bytes = b""
    _packets: int = 0
    _unread: list[Message] = field(default_factory=list)

    def connect(
        self, client_id: str, user: str = "", password: str = "", *, old: bool = False
    ) -> int:
        """Return CONNACK's return code, or -1 if the connection is closed instead."""
        self.link.sendall(connect_packet(client_id, user, password, old=old))
        return self.connected()

    def connected(self) -> int:
        try:
            first, body = self._packet()
        except (NotUnderstood, OSError):
            return -1
        if first != 0x20 or len(body) != 2:
            raise NotUnderstood(f"no CONNACK: {body!r}")
        return body[1]

    def subscribe(self, topic: str, qos: int = 1) -> None:
        self.link.sendall(subscribe_packet(topic, qos))
        self.subscribed(qos)

    def subscribed(self, qos: int) -> None:
        while True:
            first, body = self._packet()
            if first == 0x90:
                break
            self._keep(first, body)
        if body != b"\0\1" + bytes([qos]):
            raise NotUnderstood(f"a SUBACK of {body!r}")

    def publish(self, topic: str, text: str, qos: int = 1) -> None:
        """Publish a message; with QoS 1, wait for its PUBACK."""
        self._packets = self._packets % 60000 + 2
        number = struct.pack(">H", self._packets) if qos else b""
        self.link.sendall(_packet(0x30 | qos << 1, _text(topic) + number + text.encode()))
        while qos:
            first, body = self._packet()
            if first == 0x40:
                if body != number:
                    raise NotUnderstood(f"a PUBACK of {body!r}")
                return
            self._keep(first, body)

    def next(self) -> Message:
        while not self._unread:
            self._keep(*self._packet())
        return self._unread.pop(0)

    def is_quiet(self, seconds: float = 0.7) -> bool:
        """Return whether nothing arrives within the given time."""
        if self._unread or self._data:
            return False
        self.link.settimeout(seconds)
        try:
            self._data += self.link.recv(1)
            return False
        except TimeoutError:
            return True
        finally:
            self.link.settimeout(WAIT_S)

    def _keep(self, first: int, body: bytes) -> None:
        if first & 0xF0 != 0x30:
            raise NotUnderstood(f"a packet of type {first >> 4}")
        size = struct.unpack(">H", body[:2])[0]
        topic, body = body[2 : 2 + size].decode(), body[2 + size :]
        qos = first >> 1 & 3
        if qos:
            self.link.sendall(b"\x40\2" + body[:2])
            body = body[2:]
        self._unread.append(Message(topic, body.decode(), qos, bool(first & 1)))

    def _packet(self) -> tuple[int, bytes]:
        first = self._take(1)[0]
        size = shift = 0
        while True:
            byte = self._take(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            piece = self.link.recv(4096)
            if not piece:
                raise NotUnderstood("the connection ended")
            self._data += piece
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def connect_packet(
    client_id: str, user: str = "", password: str = "", *, old: bool = False
) -> bytes:
    """Return a CONNECT for a clean session; `old`: in MQTT 3.1."""
    flags = 2 | (0x80 if user else 0) | (0x40 if password else 0)
    name, level = (b"MQIsdp", 3) if old else (b"MQTT", 4)
    body = struct.pack(">H", len(name)) + name + bytes([level, flags]) + b"\0\xf0"
    words = [client_id, *filter(None, (user, password))]
    return _packet(0x10, body + b"".join(map(_text, words)))


def subscribe_packet(topic: str, qos: int = 1) -> bytes:
    return _packet(0x82, b"\0\1" + _text(topic) + bytes([qos]))


class StrictDevice:
    """A device that follows docs/protocol.md literally, on a connected MQTT link."""

    def __init__(self, mqtt: MqttLink, name: str, qos: int = 1) -> None:
        self.mqtt, self.name = mqtt, name
        mqtt.subscribe(f"$ota/update/{name}", qos)

    def report(self, text: str, qos: int = 1) -> None:
        self.mqtt.publish(f"$ota/report/{self.name}", text, qos)

    def hello(self, version: str) -> None:
        """Report the version, and receive the answer, which must begin exactly as expected."""
        self.report(f'{{"type": "report_version", "report":{{"version":"{version}"}}}}')
        answer = self.mqtt.next()
        expected = (
            '{"type":"report_version_rsp","result_code":0,"result_msg":"success",'
            f'"version":"{version}"'
        )
        rest = answer.text.removeprefix(expected)  # more fields may follow the expected ones
        if (
            rest == answer.text
            or rest[0] not in ",}"
            or answer.topic != f"$ota/update/{self.name}"
        ):
            raise NotUnderstood(f"{answer} is no answer")

    def pushed(self) -> Push:
        return read_push(self.mqtt.next().text)

    def progress(self, version: str, state: str, percent: int | None = None) -> None:
        share = "" if percent is None else f'"percent":"{percent}", '
        self.report(
            f'{{"type": "report_progress", "report": {{"progress": {{"state":"{state}", {share}'
            f'"result_code":"0", "result_msg":""}}, "version": "{version}"}}}}',
            0 if state == "downloading" else 1,
        )

    def fail(self, version: str, code: int) -> None:
        self.report(
            '{"type": "report_progress", "report": {"progress": {"state":"fail", '
            f'"result_code":"{code}", "result_msg":"time_out"}}, "version": "{version}"}}}}'
        )

    def update(self, push: Push, stop_at: int | None = None, have: bytes = b"") -> bytes:
        """Fetch the firmware from the current offset; `stop_at` aborts there, like a power cut."""
        data = have
        with HttpLink(push.url) as http:
            answer = http.ask(http.request(f"Range: bytes={len(data)}-{push.file_size}"))
            if answer.status not in (200, 206):
                raise NotUnderstood(f"status {answer.status}")
            data += answer.body[: None if stop_at is None else stop_at - len(data)]
        self.progress(push.version, "downloading", 100 * len(data) // push.file_size)
        if stop_at is None:
            if hashlib.md5(data).hexdigest() != push.md5sum:
                raise NotUnderstood("another MD5")
            self.progress(push.version, "burning")
            self.progress(push.version, "done")
        return data


def _packet(first: int, body: bytes) -> bytes:
    head, size = bytes([first]), len(body)
    while True:
        size, low = divmod(size, 128)
        head += bytes([low | (0x80 if size else 0)])
        if not size:
            return head + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
