"""Bad clients on plain sockets, and the memory that a process uses."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PRODUCT = "PROD"
SECRET = base64.b64encode(b"a secret of 128 bits").decode()


def raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory_mib(pid: int) -> float:
    """Return the memory that the process uses, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def broker_pid(cloud: int) -> int:
    """Return the process id of the mosquitto that a cloud's process has started."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"mosquitto.conf" in command and b"/bin/sh" not in command:
                shell = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                above = int(Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[1])
                if cloud in (shell, above):
                    return int(process.name)
    raise RuntimeError("the cloud has no broker")


class Peak:
    """Measure the peak memory of a process within the block, beyond its memory at the start."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.idle = self.most = memory_mib(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def more(self) -> float:
        return self.most - self.idle

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, memory_mib(self._pid))


@contextlib.contextmanager
def half_requests(port: int, count: int) -> Iterator[None]:
    """Open that many connections, each with the beginning of a request."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
                sock.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: 127")
        yield


@contextlib.contextmanager
def requests(port: int, path: str, count: int) -> Iterator[None]:
    """Send that many complete requests, and read none of the responses."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
                sock.sendall(head)
        yield


def sign_in(port: int, name: str, context: ssl.SSLContext | None = None) -> socket.socket:
    """Return a device's connection, accepted by the cloud's front."""
    client = PRODUCT + name
    user = f"{client};12010126;A1b2C;{int(time.time()) + 3600}"
    digest = hmac.new(base64.b64decode(SECRET), user.encode(), hashlib.sha256).hexdigest()
    body = b"\0\4MQTT\4\xc2\0\0" + b"".join(
        _text(word) for word in (client, user, f"{digest};hmacsha256")
    )
    link: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
    if context:
        link = context.wrap_socket(link, server_hostname="localhost")
    link.sendall(b"\x10" + _length(len(body)) + body)
    if link.recv(4) != b"\x20\2\0\0":
        raise RuntimeError(f"{name} was not let in")
    return link


def report(name: str, version: str, number: int = 0) -> bytes:
    """Return a PUBLISH of a version, with QoS 1 if it has a number."""
    topic = _text(f"$ota/report/{PRODUCT}/{name}")
    text = f'{{"type":"report_version","report":{{"version":"{version}"}}}}'.encode()
    body = topic + (number.to_bytes(2, "big") if number else b"") + text
    return (b"\x32" if number else b"\x30") + _length(len(body)) + body


def acknowledged(link: socket.socket, count: int) -> None:
    """Wait for that many PUBACKs; the broker sends nothing else here."""
    left = 4 * count
    while left:
        data = link.recv(left)
        if not data:
            raise RuntimeError("the connection has ended")
        left -= len(data)


def _text(word: str) -> bytes:
    return len(word.encode()).to_bytes(2, "big") + word.encode()


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
