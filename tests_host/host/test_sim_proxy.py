"""Every fault of the simulated network, by the bytes that a plain socket sees."""

import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from waiting import WAIT_S, wait_until

from ivota_tools.sim import Cut, Proxy

DATA = bytes(range(256)) * 400  # 102,400 bytes


class _Server(socketserver.ThreadingTCPServer):
    """Sends DATA once it was asked ("get\\n"), else echoes lines; keeps what it was sent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.heard = b""
        self.ends: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            while data := self.request.recv(4096):
                self.server.heard += data
                if data == b"get\n":
                    self.request.sendall(DATA)
                    return
                self.request.sendall(data)
            self.server.ends.append("eof")
        except ConnectionError:
            self.server.ends.append("reset")


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as result:
        threading.Thread(target=result.serve_forever, args=(0.01,), daemon=True).start()
        yield result
        result.shutdown()


@pytest.fixture
def proxy(server: _Server) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", server.server_address[1]) as result:
        yield result


def _open(proxy: Proxy, timeout_s: float = 5) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout_s)


def _ask(proxy: Proxy) -> socket.socket:
    sock = _open(proxy)
    sock.sendall(b"get\n")
    return sock


def _all(sock: socket.socket) -> tuple[bytes, str]:
    """What comes, and how it ends: "eof", "reset" or "timeout"."""
    got = b""
    try:
        while data := sock.recv(65536):
            got += data
        return got, "eof"
    except ConnectionResetError:
        return got, "reset"
    except TimeoutError:
        return got, "timeout"


def test_passes_bytes_and_counts_them(proxy: Proxy, server: _Server) -> None:
    with _ask(proxy) as sock:
        assert _all(sock) == (DATA, "eof")
    with _open(proxy) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    assert server.heard == b"get\nhello"
    assert (proxy.received, proxy.sent) == (len(DATA) + 5, 9)
    wait_until(lambda: proxy.open_connections == 0)
    first, second = proxy.connections
    assert (first.number, first.received, first.sent) == (0, len(DATA), 4)
    assert (first.ended_by, second.ended_by) == ("server", "board")
    assert (second.received, second.sent) == (5, 5)
    assert first.closed is not None and first.closed >= first.opened
    assert proxy.cuts == []


def test_passes_on_the_end_of_each_direction(proxy: Proxy, server: _Server) -> None:
    with _open(proxy) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert _all(sock) == (b"last words", "eof")
    wait_until(lambda: server.ends == ["eof"])


@pytest.mark.parametrize("after", [0, 1, 1000, len(DATA) - 1, len(DATA)])
def test_fin_comes_after_exactly_that_byte(proxy: Proxy, after: int) -> None:
    proxy.schedule([Cut(after, "fin")])
    with _ask(proxy) as sock:
        assert _all(sock) == (DATA[:after], "eof")
        sock.sendall(b"to nobody")  # and the board may still send, without a reset
        time.sleep(0.02)  # more time only for a reset, which must not come
        assert sock.recv(10) == b""
    (cut,) = proxy.cuts
    assert (cut.kind, cut.connection, cut.received, cut.sent) == ("fin", 0, after, 4)
    assert proxy.connections[0].opened <= cut.time <= time.monotonic()
    assert proxy.connections[0].ended_by == "fin"


def test_rst_is_a_reset_at_both_ends(proxy: Proxy, server: _Server) -> None:
    proxy.schedule([Cut(3, "rst")])
    with _open(proxy) as sock:
        sock.sendall(b"hello")
        got, end = _all(sock)
    assert end == "reset" and b"hel".startswith(got)
    assert proxy.received == 3
    wait_until(lambda: server.ends == ["reset"])


def test_silence_keeps_the_connection_and_passes_nothing(proxy: Proxy, server: _Server) -> None:
    proxy.schedule([Cut(5, "silence")])
    with _open(proxy, 0.2) as sock:
        sock.sendall(b"hello")
        assert _all(sock) == (b"hello", "timeout")
        sock.sendall(b"is anybody there?")
        assert _all(sock) == (b"", "timeout")
    assert server.heard == b"hello"
    assert server.ends == []
    with _open(proxy) as sock:  # a new connection is a new chance
        sock.sendall(b"again")
        assert sock.recv(10) == b"again"


def test_cuts_come_in_order_each_counted_from_the_one_before(proxy: Proxy) -> None:
    proxy.schedule([Cut(1000, "fin"), Cut(2000, "rst"), Cut(10, "fin")])
    for size, end in ((1000, "eof"), (2000, "reset"), (10, "eof"), (len(DATA), "eof")):
        with _ask(proxy) as sock:
            sock_got, sock_end = _all(sock)
            assert sock_end == end
            if end == "eof":
                assert sock_got == DATA[:size]
    assert [(c.kind, c.received) for c in proxy.cuts] == [
        ("fin", 1000),
        ("rst", 3000),
        ("fin", 3010),
    ]


def test_a_cut_may_be_counted_over_several_connections(proxy: Proxy) -> None:
    proxy.schedule([Cut(8, "fin")])
    with _open(proxy) as first, _open(proxy) as second:
        first.sendall(b"hello")
        assert first.recv(10) == b"hello"
        second.sendall(b"hello")
        assert _all(second) == (b"hel", "eof")
        first.sendall(b"still")
        assert first.recv(10) == b"still"
    assert [c.connection for c in proxy.cuts] == [1]


def test_endless_cuts(proxy: Proxy) -> None:
    proxy.schedule(itertools.repeat(Cut(10000, "fin")))
    for _ in range(5):
        with _ask(proxy) as sock:
            assert _all(sock) == (DATA[:10000], "eof")
    assert len(proxy.cuts) == 5


def test_a_cut_in_what_the_board_sends(proxy: Proxy, server: _Server) -> None:
    proxy.schedule([Cut(7, "fin", towards="server")])
    with _open(proxy) as sock:
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
        sock.sendall(b"world")
        assert _all(sock)[1] == "eof"
    wait_until(lambda: len(server.ends) == 1)
    assert server.heard in (b"hellowo", b"hello")  # a reset may overtake the last bytes
    assert proxy.sent == 7


def test_cut_now(proxy: Proxy) -> None:
    with _open(proxy) as first, _open(proxy) as second:
        wait_until(lambda: proxy.open_connections == 2)
        assert proxy.cut_now("rst") == 2
        assert _all(first) == (b"", "reset")
        assert _all(second) == (b"", "reset")
    assert [c.kind for c in proxy.cuts] == ["rst", "rst"]
    assert proxy.cut_now("fin") == 0
    with pytest.raises(ValueError):
        proxy.cut_now("fire")


def test_stall_loses_nothing(proxy: Proxy) -> None:
    with _open(proxy, 0.2) as sock:
        sock.sendall(b"before")
        assert sock.recv(10) == b"before"
        proxy.stall()
        sock.sendall(b"during")
        assert _all(sock) == (b"", "timeout")
        with _open(proxy, 0.2) as other:  # connecting works
            other.sendall(b"other")
            assert _all(other) == (b"", "timeout")
            proxy.resume()
            assert other.recv(10) == b"other"
        assert sock.recv(10) == b"during"


def test_delay_is_latency_and_not_a_limit(proxy: Proxy) -> None:
    proxy.delay(0.1)
    proxy.segment(144)
    with _open(proxy) as sock:
        start = time.monotonic()
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
        assert time.monotonic() - start >= 0.2
    with _ask(proxy) as sock:
        start = time.monotonic()
        assert _all(sock) == (DATA, "eof")
        # One segment after the other, with a delay each, would be more than a minute.
        assert 0.2 <= time.monotonic() - start < 60


@pytest.mark.parametrize("segment", [None, 1436])
def test_pace(proxy: Proxy, segment: int | None) -> None:
    proxy.pace(200_000)
    proxy.segment(segment)
    start = time.monotonic()
    with _ask(proxy) as sock:
        assert _all(sock) == (DATA, "eof")
    assert time.monotonic() - start > 0.48


def test_one_byte_at_a_time(proxy: Proxy) -> None:
    proxy.pace(50)
    start = time.monotonic()
    pieces = []
    with _open(proxy) as sock:
        sock.sendall(b"hello")
        while b"".join(pieces) != b"hello":
            pieces.append(sock.recv(100))
    assert len(pieces) >= 3  # a busy machine may read two at once
    assert time.monotonic() - start >= 0.08


def test_segments_arrive_apart_where_the_receiver_is_faster(proxy: Proxy) -> None:
    proxy.segment(1436)
    proxy.pace(143_600)
    sizes = []
    with _ask(proxy) as sock:
        while data := sock.recv(65536):
            sizes.append(len(data))
    assert sizes.count(1436) > len(sizes) / 2
    assert sum(sizes) == len(DATA)


def test_refuse_and_accept(proxy: Proxy) -> None:
    with _open(proxy) as sock:
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            _open(proxy)
        sock.sendall(b"still")  # what is open stays
        assert sock.recv(10) == b"still"
        proxy.refuse()
        proxy.accept()
        proxy.accept()
        with _open(proxy) as other:
            other.sendall(b"again")
            assert other.recv(10) == b"again"


def test_a_server_that_is_not_there(server: _Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Proxy("127.0.0.1", nobody.getsockname()[1]) as proxy:
            with pytest.raises(ConnectionResetError), _open(proxy) as sock:
                sock.recv(1)  # or the reset came while connecting
            assert proxy.connections[0].ended_by == "refused"


def test_the_servers_reset_reaches_the_board() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Proxy("127.0.0.1", listener.getsockname()[1]) as proxy, _open(proxy) as sock:
            peer, _ = listener.accept()
            sock.sendall(b"unread")
            wait_until(lambda: proxy.sent == 6)
            peer.close()  # with bytes unread: a reset
            assert _all(sock) == (b"", "reset")
            wait_until(lambda: proxy.connections[0].ended_by == "server")


def test_small_buffers_keep_few_bytes_on_their_way(server: _Server) -> None:
    with Proxy("127.0.0.1", server.server_address[1], buffer=2048) as proxy:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.settimeout(WAIT_S)
            sock.connect(("127.0.0.1", proxy.port))
            sock.sendall(b"get\n")
            # This board does not read. How far does the proxy come while another reads all?
            with _ask(proxy) as other:
                assert _all(other) == (DATA, "eof")
            first = proxy.connections[0]
            # Not at once: what is being sent is counted before, and what was not taken back after.
            wait_until(lambda: 0 < first.received < 16384, "a proxy that waits")
            assert _all(sock) == (DATA, "eof")


def test_close_ends_everything_and_frees_the_port(server: _Server) -> None:
    proxy = Proxy("127.0.0.1", server.server_address[1])
    with _open(proxy) as sock:
        wait_until(lambda: proxy.open_connections == 1)
        proxy.schedule([Cut(0, "silence")])
        other = _ask(proxy)
        wait_until(lambda: len(proxy.cuts) == 1)
        proxy.close()
        proxy.close()
        assert _all(sock) == (b"", "reset")
        assert _all(other) == (b"", "reset")
        other.close()
    with Proxy("127.0.0.1", server.server_address[1], listen_port=proxy.port) as again:
        assert again.port == proxy.port
        with _ask(again) as sock:
            assert _all(sock) == (DATA, "eof")


def test_wait_received(proxy: Proxy) -> None:
    proxy.pace(100_000)
    with _ask(proxy):
        proxy.wait_received(5000)
        assert 5000 <= proxy.received < 50_000
    with pytest.raises(TimeoutError, match=r"of 1000000 bytes within 0\.05 s"):
        proxy.wait_received(1_000_000, 0.05)


@pytest.mark.parametrize("cut", [("fire", "board"), ("fin", "moon")])
def test_a_cut_that_does_not_exist(cut: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        Cut(1, *cut)
