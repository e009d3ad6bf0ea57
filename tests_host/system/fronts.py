"""Sockets before a server of this machine that look at, hold back, refuse or encrypt what passes.

Cuts, stalls and slow links are `ivota_tools.sim.Proxy`'s; these know MQTT or TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

from certificates import Issued
from waiting import WAIT_S

AnyFront = TypeVar("AnyFront", bound="Front")


class Front:
    """Passes the connections to its `port` on to port `target` of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self: AnyFront) -> AnyFront:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection too."""
        for sock in [self._listener, *self._socks]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                board, _ = self._listener.accept()
            except OSError:
                return
            self._socks.append(board)
            threading.Thread(target=self._meet, args=(board,), daemon=True).start()

    def _meet(self, board: socket.socket) -> None:
        """One connection of the board's, in a thread of its own."""
        with contextlib.suppress(OSError):
            self._join(board)

    def _join(self, board: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._socks.append(server)
        threading.Thread(target=self._pass, args=(server, board, False), daemon=True).start()
        self._pass(board, server, True)

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        """What `source` says, until it says no more; `up` is from the board to the server."""
        carry = self._carrier(sink, up)
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                carry(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _carrier(self, sink: socket.socket, up: bool) -> Callable[[bytes], object]:
        """What is called with each piece of one direction of one connection."""
        return sink.sendall


class Tap(Front):
    """Keeps what the board says."""

    def __init__(self, target: int) -> None:
        self.said: list[bytearray] = []  # by connection
        self._ended: list[threading.Event] = []
        super().__init__(target)

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        ended = threading.Event()
        if up:
            self._ended.append(ended)
        super()._pass(source, sink, up)
        ended.set()

    def _carrier(self, sink: socket.socket, up: bool) -> Callable[[bytes], object]:
        if not up:
            return sink.sendall
        said = bytearray()
        self.said.append(said)

        def keep(data: bytes) -> None:
            said.extend(data)
            sink.sendall(data)

        return keep

    def wait_closed(self) -> None:
        """Waits until all that the board said on its last connection is here."""
        assert self._ended[-1].wait(WAIT_S)

    def packets(self, connection: int = -1) -> list[tuple[int, bytes]]:
        """The MQTT packets of the board so far: (first byte, what follows the length)."""
        packets, _ = whole_packets(bytes(self.said[connection]))
        return [(packet[0], packet[head:]) for head, packet in packets]


class LateAcks(Front):
    """Passes all to the board at once but PUBACKs: those are held, until `pass_on`."""

    def __init__(self, target: int) -> None:
        self._late_s: float | None = None
        self._held: list[tuple[socket.socket, bytes]] = []
        super().__init__(target)

    @property
    def held(self) -> int:
        """How many PUBACKs are held."""
        return len(self._held)

    def pass_on(self, late_s: float) -> None:
        """Passes on what is held, and from now on each one `late_s` after it came."""
        self._late_s = late_s
        while self._held:
            _send(*self._held.pop(0))

    def _carrier(self, sink: socket.socket, up: bool) -> Callable[[bytes], object]:
        if up:
            return sink.sendall
        rest = b""  # of a packet that is not whole yet

        def hold_back(data: bytes) -> None:
            nonlocal rest
            packets, rest = whole_packets(rest + data)
            for _, packet in packets:
                if packet[0] != 0x40:
                    sink.sendall(packet)
                    continue
                if self._late_s is None:
                    self._held.append((sink, packet))
                else:
                    threading.Timer(self._late_s, _send, (sink, packet)).start()

        return hold_back


class Refusing(Front):
    """Answers the first connections with a CONNACK of each of `codes`, and passes on the others.

    MQTT 3.1.1: 0 is welcome; 1 the protocol, 2 the client id, 3 the server, 4 the password, 5 not
    authorised.
    """

    def __init__(self, target: int, codes: bytes) -> None:
        self._codes = list(codes)
        super().__init__(target)

    def _join(self, board: socket.socket) -> None:
        if not self._codes:
            super()._join(board)
            return
        with board:
            board.recv(1024)
            board.sendall(bytes((0x20, 2, 0, self._codes.pop(0))))


class TlsFront(Front):
    """Ends TLS with a certificate before an HTTP server; one request a connection.

    Nothing is answered while `flowing` is clear.
    """

    def __init__(self, issued: Issued, target: int) -> None:
        self.flowing = threading.Event()
        self.flowing.set()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(issued.pem, issued.key_pem)
        self.handshakes = 0
        super().__init__(target)

    def _join(self, board: socket.socket) -> None:
        # A TLS session must not be read and written by two threads at once.
        board.settimeout(WAIT_S)
        with (
            self._context.wrap_socket(board, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            self.handshakes += 1
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                data = secure.recv(4096)
                if not data:
                    return
                request += data
            server.sendall(request)
            while data := server.recv(16384):
                self.flowing.wait(WAIT_S)
                secure.sendall(data)
            secure.unwrap()


def whole_packets(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The MQTT packets in `data`, each as (length of its head, all of it), and what is left."""
    found = []
    while True:
        size = 0
        for at, byte in enumerate(data[1:5]):
            size |= (byte & 0x7F) << 7 * at
            if byte < 0x80:
                break
        else:
            return found, data
        head = at + 2
        if len(data) < head + size:
            return found, data
        found.append((head, data[: head + size]))
        data = data[head + size :]


def _send(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the board has left since
        sock.sendall(data)
