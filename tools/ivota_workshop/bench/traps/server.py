"""A server that first serves a client badly, as scripted, and later well: MQTT or HTTP."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable

TOPIC = b"t"
FIRMWARE = bytes(n * 7 % 251 for n in range(6000))

# CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT
_FROM_CLIENTS = (0x10, 0x30, 0x40, 0x80, 0xC0, 0xE0)

Serve = Callable[["Peer"], None]


class Peer:
    """The client's `number`-th connection, in a separate thread."""

    def __init__(
        self, sock: socket.socket, port: int, number: int, closing: threading.Event
    ) -> None:
        self.sock = sock
        self.port = port
        self.number = number
        self.host = ""  # the Host header of the last request
        self._closing = closing
        self._packets = 0

    def take(self, n: int) -> bytes:
        """Read `n` bytes; raises EOFError if the client leaves."""
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def pause(self, seconds: float) -> bool:
        """Send nothing for so long; return whether the server is still running."""
        return not self._closing.wait(seconds)

    def drip(self, data: Iterable[int], every_s: float = 0.15) -> None:
        """Send one byte at a time, for as long as the client reads."""
        for byte in data:
            if not self.pause(every_s):
                return
            self.send(bytes([byte]))

    def pour(self, data: bytes) -> None:
        """Send the same data repeatedly, as fast as the client reads."""
        while not self._closing.is_set():
            self.send(data)

    def hold(self) -> None:
        """Send nothing more, and read everything, until the client leaves."""
        while self.sock.recv(4096):
            pass

    def deaf(self) -> None:
        """Neither send nor read anything more."""
        self._closing.wait()

    # MQTT

    def packet(self) -> tuple[int, bytes]:
        """Return the next packet's first byte and its body."""
        head = self.take(1)[0]
        size = shift = 0
        while True:
            byte = self.take(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        body = self.take(size)
        self._packets += 1
        # Only the first packet is CONNECT (0x10); otherwise the stream is out of step.
        if (head == 0x10) != (self._packets == 1) or head & 0xF0 not in _FROM_CLIENTS:
            raise ValueError(f"packet {head:02x} cannot be here")
        return head, body

    def until(self, wanted: int) -> bytes:
        """Answer like a broker until a packet of this kind; return its body."""
        while True:
            head, body = self.packet()
            if head & 0xF0 == wanted:
                return body
            self.answer(head, body)

    def answer(self, head: int, body: bytes) -> None:
        if head == 0x10:
            self.send(b"\x20\x02\0\0")
        elif head == 0x82:
            size = int.from_bytes(body[2:4], "big")
            if len(body) != 5 + size:
                raise ValueError("SUBSCRIBE of the wrong length")
            body[4 : 4 + size].decode()
            self.send(b"\x90\x03" + body[:2] + b"\x01")
            # A client that receives this in step has subscribed, and has lost no byte.
            self.send(message(body[4 : 4 + size], b"good"))
        elif head & 0xF6 == 0x32:
            size = int.from_bytes(body[:2], "big")
            self.send(b"\x40\x02" + body[2 + size : 4 + size])
        elif head == 0xC0:
            self.send(b"\xd0\0")

    # HTTP

    def request(self) -> tuple[str, int]:
        """Return the path and the first byte of a request."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.take(1)
        lines = data.decode().split("\r\n")
        first = 0
        for line in lines:
            if line.startswith("Range: bytes="):
                first = int(line[13:].split("-")[0])
            if line.startswith("Host: "):
                self.host = line[6:]
        return lines[0].split()[1], first

    def head(self, *lines: str) -> None:
        self.send("".join(f"{line}\r\n" for line in lines).encode())

    def partial(self, first: int, size: int = len(FIRMWARE)) -> None:
        """Return the status line and fields of a good response."""
        self.head(
            "HTTP/1.1 206 Partial Content",
            f"Content-Range: bytes {first}-{size - 1}/{size}",
            f"Content-Length: {size - first}",
            "",
        )


def message(topic: bytes, payload: bytes) -> bytes:
    """Return a PUBLISH with QoS 0."""
    body = len(topic).to_bytes(2, "big") + topic + payload
    size, length = len(body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return b"\x30" + bytes([*length, size]) + body


def good_broker(peer: Peer) -> None:
    while True:
        peer.answer(*peer.packet())


def serve_file(data: bytes) -> Serve:
    """Serve one file correctly."""

    def serve(peer: Peer) -> None:
        _, first = peer.request()
        peer.partial(first, len(data))
        peer.send(data[first:])

    return serve


good_files = serve_file(FIRMWARE)


class Server:
    """Serve the first `bad` connections with `serve`, all others with `good`.

    `blocked`: for so many seconds no connection is accepted, as with a full backlog. `errors`
    lists the clients' violations of the protocol.
    """

    def __init__(
        self,
        serve: Serve,
        good: Serve,
        bad: int,
        blocked_s: float = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._serve, self._good, self._bad = serve, good, bad
        self._blocked_s = blocked_s
        self._context = context
        self.closing = threading.Event()
        self.connections = 0
        self.errors: list[str] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0 if blocked_s else 8)
        self.port: int = self._listener.getsockname()[1]
        self._fillers = self._fill() if blocked_s else []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        for sock in [self._listener, *self._socks, *self._fillers]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _fill(self) -> list[socket.socket]:
        fillers = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            fillers.append(sock)
        time.sleep(0.05)
        return fillers

    def _accept(self) -> None:
        if self._blocked_s:
            if self.closing.wait(self._blocked_s):
                return
            for sock in self._fillers:
                sock.close()
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._socks.append(sock)
            self.connections += 1
            serve = self._serve if self.connections <= self._bad else self._good
            args = sock, serve, self.connections
            threading.Thread(target=self._run, args=args, daemon=True).start()

    def _run(self, sock: socket.socket, serve: Serve, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            serve(Peer(sock, self.port, number, self.closing))
        except ValueError as error:
            self.errors.append(str(error))
        except (OSError, EOFError):
            pass  # the client has left
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
