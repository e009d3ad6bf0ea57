"""A server of one firmware, byte by byte: each request is answered by a function of the test."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

HOLD_S = 60.0  # no test waits longer for a board to hang up

Headers = dict[str, str | None]


@dataclass
class Request:
    """What came in."""

    path: str
    headers: dict[str, str]  # names in lower case

    @property
    def first(self) -> int:
        """The first byte that was asked for, by `Range: bytes={first}-`."""
        unit, _, numbers = self.headers["range"].partition("=")
        first, _, last = numbers.partition("-")
        assert unit == "bytes" and not last, self.headers
        return int(first)


@dataclass
class Exchange:
    """One request and the connection on which it is answered; what is sent is the test's."""

    request: Request
    data: bytes  # the firmware
    port: int
    _sock: socket.socket = field(repr=False)

    @property
    def first(self) -> int:
        return self.request.first

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def head(self, status: str, headers: Headers) -> None:
        """A status line and headers; those that are None are left out."""
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode())

    def part(self, body: bytes | None = None, **more: str | None) -> None:
        """The 206 that was asked for; `body` in place of its bytes; headers with _ for -."""
        rest = self.data[self.first :]
        total = len(self.data)
        headers: Headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(rest)),
            "Content-Range": f"bytes {self.first}-{total - 1}/{total}",
            "Connection": "close",
        }
        headers.update({name.replace("_", "-"): value for name, value in more.items()})
        self.head("206 Partial Content", headers)
        self.send(rest if body is None else body)

    def whole(self, body: bytes | None = None, **more: str | None) -> None:
        """A 200 with all of it, whatever was asked for; `body` in its place."""
        body = self.data if body is None else body
        headers: Headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(body)),
        }
        headers.update({name.replace("_", "-"): value for name, value in more.items()})
        self.head("200 OK", headers)
        self.send(body)

    def hold(self, seconds: float = HOLD_S) -> bool:
        """Says nothing more until the board hangs up, or for so long; whether it did."""
        self._sock.settimeout(seconds)
        try:
            return self._sock.recv(1) == b""
        except TimeoutError:
            return False

    def reset(self) -> None:
        """Ends the connection with a reset, once the board had time to read what was sent."""
        self.hold(0.3)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


Fault = Callable[[Exchange], None]


def good(exchange: Exchange) -> None:
    """What a good server answers."""
    exchange.part()


class FaultServer:
    """Serves `data` on 127.0.0.1, well unless it is told otherwise; over TLS with a `context`."""

    def __init__(self, data: bytes, context: ssl.SSLContext | None = None) -> None:
        self.data = data
        self.requests: list[Request] = []
        self._context = context
        self._fault: Fault = good
        self._left: int | None = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def url(self, path: str = "/f.bin", port: int | None = None) -> str:
        if self._context:
            return f"https://localhost:{port or self.port}{path}"
        return f"http://127.0.0.1:{port or self.port}{path}"

    def fail(self, fault: Fault, times: int | None = None) -> None:
        """Answers the next `times` requests so, all that come where it is None."""
        self._fault, self._left = fault, times

    @property
    def asked(self) -> list[int]:
        """The first byte of each request."""
        return [request.first for request in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context:
                sock.settimeout(HOLD_S)
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                self._answer(sock)
        except OSError:
            pass  # the board has had enough

    def _answer(self, sock: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = sock.recv(4096)
            if not received:
                return
            head += received
        line, *lines = head.decode().strip().split("\r\n")
        method, path, _ = line.split()
        assert method == "GET"
        pairs = [each.split(": ", 1) for each in lines]
        request = Request(path, {name.lower(): value for name, value in pairs})
        self.requests.append(request)
        fault = self._fault if self._left != 0 else good
        if self._left:
            self._left -= 1
        fault(Exchange(request, self.data, self.port, sock))
