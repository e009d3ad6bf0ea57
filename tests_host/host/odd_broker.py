"""A broker with the habits of some real ones, which mosquitto cannot be made to have."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import paho.mqtt.client as mqtt


class OddBroker:
    """MQTT 3.1.1 with QoS 0 and 1, no sessions, anybody let in.

    drops        topics that begin with this are acknowledged and go nowhere, as amqtt does
    closes       a message to such a topic ends the connection, as brokers do by their rules
    slashes      dots in topics come out as slashes, and go in as if they were, as RabbitMQ does
    """

    def __init__(self, *, drops: str = "", closes: str = "", slashes: bool = False) -> None:
        self.drops, self.closes, self.slashes = drops, closes, slashes
        self.words: list[tuple[str, str]] = []  # user and password of each connection
        self.topics: list[str] = []  # of what was published
        self._lock = threading.Lock()
        self._filters: dict[socket.socket, list[str]] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> OddBroker:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._filters]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                with self._lock:
                    self._filters[link] = []
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, IndexError, struct.error),
            link,
            link.makefile("rb") as f,
        ):
            while True:
                first = f.read(1)[0]
                size = shift = 0
                while True:
                    byte = f.read(1)[0]
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                self._packet(link, first, f.read(size))
        with self._lock:
            self._filters.pop(link, None)

    def _packet(self, link: socket.socket, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 1:
            flags, words = body[7], _texts(body[10:])[1:]
            self.words.append((*words, "", "")[:2] if flags & 0x80 else ("", ""))
            link.sendall(b"\x20\2\0\0")
        elif kind == 3:
            qos, topic = first >> 1 & 3, _texts(body)[0]
            rest = body[2 + len(topic.encode()) :]
            if self.closes and topic.startswith(self.closes):
                raise OSError
            if qos:
                link.sendall(b"\x40\2" + rest[:2])
            self.topics.append(topic)
            if not (self.drops and topic.startswith(self.drops)):
                self._route(topic, rest[2:] if qos else rest)
        elif kind == 8:
            filters, rest = [], body[2:]
            while rest:
                filters.append(_texts(rest)[0])
                rest = rest[3 + len(filters[-1].encode()) :]
            with self._lock:
                self._filters[link] += filters
            link.sendall(bytes([0x90, 2 + len(filters)]) + body[:2] + bytes(len(filters)))
        elif kind == 12:
            link.sendall(b"\xd0\0")
        elif kind == 14:
            raise OSError

    def _route(self, topic: str, payload: bytes) -> None:
        seen = topic.replace(".", "/") if self.slashes else topic
        data = struct.pack(">H", len(seen.encode())) + seen.encode() + payload
        size, head = len(data), b"\x30"
        while True:
            size, low = divmod(size, 128)
            head += bytes([low | (0x80 if size else 0)])
            if not size:
                break
        with self._lock:
            for link, filters in self._filters.items():
                known = (f.replace(".", "/") if self.slashes else f for f in filters)
                if any(mqtt.topic_matches_sub(each, seen) for each in known):
                    with contextlib.suppress(OSError):
                        link.sendall(head + data)


def _texts(data: bytes) -> list[str]:
    found = []
    while len(data) >= 2:
        (size,) = struct.unpack_from(">H", data)
        found.append(data[2 : 2 + size].decode(errors="replace"))
        data = data[2 + size :]
    return found
