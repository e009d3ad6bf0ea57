"""The guarded socket: a deadline on every wait, bounded lines, nothing taken on trust."""

import errno
import socket

from doubles.fakesocket import Network

from ivota import describe, guarded_socket
from support import Clock, Listener, installed, patched, raises, receive, wait_until


class Connected:
    """`with Connected() as (stream, peer):` over loopback."""

    def __init__(self, timeout_s=5, most=4096):
        self._timeout_s = timeout_s
        self._most = most

    def __enter__(self):
        self._server = Listener()
        self.stream = guarded_socket.Stream(
            "127.0.0.1", self._server.port, self._timeout_s, most=self._most
        )
        return self.stream, self._server.accept()

    def __exit__(self, *exc):
        self.stream.close()
        self._server.close()


class FakePoll:
    """A poll whose waits cost the fake clock's time; `event` happens, or what `raw` still has."""

    def __init__(self, clock):
        self._clock = clock
        self.waits = 0
        self.event = None
        self.raw = None

    def register(self, raw, mask):
        self.raw = raw
        self.mask = mask

    def unregister(self, raw):
        assert raw is self.raw

    def modify(self, raw, mask):
        assert raw is self.raw
        self.mask = mask

    def ipoll(self, ms):
        self.waits += 1
        if self.event is not None:
            return [(None, self.event)]
        self._clock.advance_ms(ms)
        return [(None, 1)] if self.raw.incoming and self.mask & 1 else []


class FakeSelect:
    def __init__(self, clock):
        self.made = FakePoll(clock)

    def poll(self):
        return self.made


class Esp32Socket:
    """A socket as esp32 has it: after setblocking(True) a read without data never returns."""

    def __init__(self, *_args):
        self.blocking = True
        self.timeout = None
        self.incoming = []  # what reads return, None for nothing yet
        self.sent = b""
        self.takes = None  # bytes that one write takes, or none at all
        self.closed = False

    def _would_hang(self):
        if self.blocking and self.timeout is None:
            raise AssertionError("this would block for ever")

    def setblocking(self, flag):
        self.blocking = flag
        self.timeout = None  # the very trap

    def settimeout(self, timeout_s):
        self.blocking = timeout_s != 0
        self.timeout = timeout_s

    def connect(self, _address):
        raise OSError(errno.EINPROGRESS)

    def read(self, n):
        if not self.incoming:
            self._would_hang()
            return None
        part = self.incoming.pop(0)
        if part is not None and len(part) > n:
            self.incoming.insert(0, part[n:])
            part = part[:n]
        return part

    def write(self, data):
        self._would_hang()
        if self.takes == 0:
            return None
        data = bytes(data[: self.takes] if self.takes else data)
        self.sent += data
        return len(data)

    def close(self):
        self.closed = True


class FakeNetwork:
    """`socket` with one host, whose socket is an `Esp32Socket`."""

    SOCK_STREAM = 1

    def __init__(self):
        self.made = None
        self.asked = []

    def getaddrinfo(self, *args):
        self.asked.append(args)
        return [(2, 1, 0, "", ("10.0.0.1", args[1]))]

    def socket(self, *_args):
        self.made = Esp32Socket()
        return self.made


class Virtual:
    """`with Virtual() as world:` a stream on fakes and a clock that passes only in waits."""

    def __enter__(self):
        self.clock = Clock(ms=1000)
        self.network = FakeNetwork()
        self.select = FakeSelect(self.clock)
        self.poll = self.select.made
        self._patch = patched(
            guarded_socket, socket=self.network, select=self.select, time=self.clock
        )
        self._patch.__enter__()
        return self

    def __exit__(self, *exc):
        self._patch.__exit__(*exc)

    def connect(self, timeout_s=10, most=4096):
        self.poll.event = 4
        stream = guarded_socket.Stream("h", 1, timeout_s, most=most)
        self.poll.event = None
        stream.begin()
        return stream, self.network.made

    def times_out(self, function, *args):
        """The milliseconds after which a call raised ETIMEDOUT."""
        start = self.clock.now_ms()
        try:
            function(*args)
        except OSError as error:
            assert error.errno == errno.ETIMEDOUT
            return self.clock.now_ms() - start
        raise AssertionError("it returned")


# Over loopback


def test_both_ways():
    with Connected() as (stream, peer):
        assert stream.write(b"hello") == 5
        assert receive(peer, 5) == b"hello"
        peer.write(b"rest")
        assert stream.read(4) == b"rest"


def test_write_takes_a_count():
    with Connected() as (stream, peer):
        assert stream.write(bytearray(b"\x10\x05\0\0"), 2) == 2
        stream.write("é")
        assert receive(peer, 4) == b"\x10\x05\xc3\xa9"


def test_read_is_whole_or_ends_with_the_stream():
    with Connected() as (stream, peer):
        peer.write(b"abc")
        assert stream.read(2) == b"ab"
        peer.close()
        assert stream.read(5) == b"c"
        assert stream.read(1) == b""


def test_nothing_there_is_none_when_the_library_asked_so():
    with Connected() as (stream, peer):
        stream.write(b"x")
        stream.setblocking(False)
        assert stream.read(1) is None
        assert not stream.ready()
        peer.write(b"x")
        wait_until(stream.ready)
        assert stream.read(1) == b"x"


def test_heard_tells_that_something_came():
    with Connected() as (stream, peer):
        assert not stream.heard
        peer.write(b"x")
        stream.read(1)
        assert stream.heard


def test_connection_refused():
    with Listener() as server:
        port = server.port
    with raises(OSError) as caught:
        guarded_socket.Stream("127.0.0.1", port, 5)
    assert caught.value.errno == errno.ECONNREFUSED


def test_one_lookup_each():
    before = guarded_socket.lookups
    with Connected():
        assert guarded_socket.lookups == before + 1


def test_a_real_silent_peer_times_out():
    with Connected(timeout_s=0.2) as (stream, _peer):
        stream.begin()
        with raises(OSError) as caught:
            stream.read(1)
        assert caught.value.errno == errno.ETIMEDOUT


def test_a_real_peer_that_takes_nothing_times_out():
    with Connected(timeout_s=0.3) as (stream, _peer):
        stream.begin()
        with raises(OSError) as caught:
            for _ in range(1000):
                stream.write(b"x" * 65536)
        assert caught.value.errno == errno.ETIMEDOUT


def test_an_oversize_read_is_skipped_and_the_stream_stays_in_step():
    with Connected(most=100) as (stream, peer):
        peer.write(b"a" * 100 + b"b" * 101 + b"c" * 5000 + b"next")
        assert stream.read(100) == b"a" * 100
        assert stream.read(101) == b""
        assert stream.read(5000) == b""
        assert stream.read(4) == b"next"


# With sockets as esp32 has them, under a clock of our own


def test_close_twice_after_a_call_that_failed():
    # esp32's close raises then, each time.
    for port in ("unix", "esp32"):
        network = Network([50, OSError(errno.ECONNRESET)], port=port)
        with patched(guarded_socket, socket=network, select=network, errno=network.errno):
            with network.clock.put_into(guarded_socket):
                stream = guarded_socket.Stream("h", 1, 10)
                with raises(OSError):
                    stream.read(1)
                assert not network.sockets[0].closed
                stream.close()
                assert network.sockets[0].closed, port
                stream.close()


def test_what_comes_in_does_not_end_a_wait_to_write():
    with Virtual() as world:
        stream, raw = world.connect()
        raw.takes = 0
        raw.incoming = [b"x"]
        assert world.times_out(stream.write, b"y") == 10000
        assert world.poll.mask == 4


def test_connect_has_a_deadline():
    with Virtual() as world:
        assert world.times_out(guarded_socket.Stream, "h", 1, 10) == 10000
        assert world.network.made.closed
        assert world.poll.waits == 20


def test_a_refused_connection_is_seen_at_once():
    # esp32 reports POLLHUP only where it was asked for, and calls a refusal a reset.
    for port in ("unix", "esp32"):
        network = Network(OSError(errno.ECONNREFUSED), port=port)
        with patched(guarded_socket, socket=network, select=network, errno=network.errno):
            with network.clock.put_into(guarded_socket), raises(OSError) as caught:
                guarded_socket.Stream("h", 1, 10)
        assert caught.value.errno == network.errno.ECONNREFUSED, port
        assert network.clock.now_ms() == 0
        assert network.sockets[0].closed and network.sockets[0].sent == b""


def test_a_failed_connection_in_words():
    for port in ("unix", "esp32"):
        for error, words in (
            (OSError(errno.ECONNREFUSED), "no server listens on this port (ECONNREFUSED)"),
            (
                OSError(errno.EHOSTUNREACH),
                "no network, or no route to this address (EHOSTUNREACH)",
            ),
            ([], "no answer in time (ETIMEDOUT)"),
            ([50, OSError(errno.ECONNRESET)], "the connection was lost (ECONNRESET)"),
        ):
            network = Network(error, port=port)
            with patched(guarded_socket, socket=network, select=network, errno=network.errno):
                with network.clock.put_into(guarded_socket), installed("errno", network.errno):
                    try:
                        stream = guarded_socket.Stream("h", 1, 10)
                        stream.begin()
                        stream.read(1)
                    except OSError as caught:
                        assert describe(caught) == words
                    else:
                        raise AssertionError("it is connected")


def test_a_name_that_is_not_found_leaves_nothing_open():
    with Virtual() as world:

        def missing(*_args):
            raise OSError(-202)

        world.network.getaddrinfo = missing
        with raises(OSError, "no network, or unknown name: h"):
            guarded_socket.Stream("h", 1, 10)
        assert world.network.made is None


def test_a_socket_that_cannot_be_closed():
    # lwIP's, after a call that has failed; the client would end of it.
    network = Network([b"x", OSError(errno.ECONNRESET)], port="esp32")
    with patched(guarded_socket, socket=network, select=network, errno=network.errno):
        with network.clock.put_into(guarded_socket):
            stream = guarded_socket.Stream("h", 1, 10)
            assert stream.read(1) == b"x"
            with raises(OSError):
                stream.read(1)
            stream.close()
            stream.close()
    assert network.sockets[0].closed


def test_every_wait_has_the_deadline():
    with Virtual() as world:
        for name, args in (
            ("read", (1,)),
            ("read", (5000,)),
            ("write", (b"x",)),
        ):
            stream, raw = world.connect()
            raw.takes = 0
            assert world.times_out(getattr(stream, name), *args) == 10000, name


def test_the_deadline_is_of_all_waits_together():
    # One byte every 500 ms would keep a timeout per receive alive for ever.
    with Virtual() as world:
        stream, raw = world.connect()
        raw.incoming = [b"x", None] * 1000
        assert world.times_out(stream.read, 900) == 10000
        stream, raw = world.connect(most=16)
        raw.incoming = [b"x", None] * 1000
        assert world.times_out(stream.read, 10**9) == 10000


def test_begin_gives_time_again():
    with Virtual() as world:
        stream, raw = world.connect()
        raw.incoming = [None] * 10 + [b"a"]
        assert stream.read(1) == b"a"
        stream.begin()
        assert world.times_out(stream.read, 1) == 10000


def test_ticks_may_wrap_in_a_wait():
    with Virtual() as world:
        stream, _raw = world.connect()
        world.clock.advance_ms((1 << 30) - world.clock.now_ms() - 3000)
        stream.begin()
        assert world.times_out(stream.read, 1) == 10000


def test_setblocking_is_only_remembered():
    # umqtt calls setblocking(True) after its first byte; on esp32 that removes a timeout for ever.
    with Virtual() as world:
        stream, raw = world.connect()
        stream.setblocking(True)
        stream.settimeout(None)
        assert raw.blocking is False
        assert world.times_out(stream.read, 1) == 10000
        stream.begin()
        stream.setblocking(False)
        assert stream.read(1) is None


def test_the_fake_socket_does_hang_without_us():
    raw = Esp32Socket()
    raw.settimeout(5)
    assert raw.read(1) is None
    raw.setblocking(True)
    with raises(AssertionError, "for ever"):
        raw.read(1)


def test_a_watchdog_is_fed_in_every_wait():
    with Virtual() as world:
        fed = []
        with patched(guarded_socket.hooks, feed=lambda: fed.append(world.clock.now_ms())):
            stream, _raw = world.connect()
            world.times_out(stream.read, 1)
        assert len(fed) > 20
        assert max(b - a for a, b in zip(fed, fed[1:])) <= 500


def test_with_a_ca_what_is_read_and_written_is_tls():
    asked = []
    tls = Esp32Socket()
    tls.setblocking(False)

    class Secure:
        @staticmethod
        def wrap(*args):
            asked.append(args)
            return tls

    with Virtual() as world, patched(guarded_socket, once={"tls_client": Secure}.get):
        world.poll.event = 4
        stream = guarded_socket.Stream("h", 1, 10, "/ca", own={"cert": "/cert"})
        stream.begin()
        stream.write(b"x")
        assert asked == [(world.network.made, "h", "/ca", {"cert": "/cert"})]
        assert tls.sent == b"x" and world.network.made.sent == b""
        stream.close()
        assert tls.closed


def test_a_handshake_that_cannot_begin_leaves_nothing_open():
    def once(_name):
        raise OSError("no such certificate")

    with Virtual() as world, patched(guarded_socket, once=once):
        world.poll.event = 4
        with raises(OSError, "no such certificate"):
            guarded_socket.Stream("h", 1, 10, "/ca")
        assert world.network.made.closed


def test_an_oversize_read_takes_small_pieces():
    with Virtual() as world:
        stream, raw = world.connect(most=100)
        asked = []
        read = raw.read

        def spy(n):
            asked.append(n)
            return read(n)

        raw.read = spy
        raw.incoming = [b"x" * 70, None, b"x" * 930, b"next"]
        assert stream.read(1000) == b""
        assert max(asked) <= 128
        assert stream.read(4) == b"next"


def test_the_end_in_an_oversize_read_is_an_error():
    with Virtual() as world:
        stream, raw = world.connect(most=100)
        raw.incoming = [b"x" * 70, b""]
        with raises(OSError):
            stream.read(1000)


def test_a_negative_length_is_an_error():
    with Virtual() as world:
        stream, raw = world.connect()
        raw.incoming = [b"x" * 70]
        with raises(OSError):
            stream.read(-3)
        assert stream.read(0) == b""


def test_write_only():
    with Virtual() as world:
        stream, raw = world.connect()
        raw.incoming = [b"x"]
        stream.write_only = True
        stream.write(b"ab")
        with raises(guarded_socket.WriteOnly):
            stream.read(1)
        assert raw.sent == b"ab"
        stream.write_only = False
        assert stream.read(1) == b"x"


def test_write_goes_on_where_the_socket_stopped():
    with Virtual() as world:
        stream, raw = world.connect()
        raw.takes = 3
        assert stream.write(b"0123456789") == 10
        assert raw.sent == b"0123456789"


# Lending it to a library


class Library:
    """A module that connects, as umqtt and requests do."""

    def __init__(self, uses=True, name="socket"):
        self._uses = uses
        self._name = name
        setattr(self, name, socket)

    def connect(self, value):
        if self._uses:
            module = getattr(self, self._name)
            family, kind, proto, _, address = module.getaddrinfo("h", 1, 0, module.SOCK_STREAM)[0]
            self.sock = module.socket(family, kind, proto)
            self.sock.settimeout(3)
            self.sock.connect(address)
            self.sock.write(b"hello")
        if value is None:
            raise ValueError("library")
        return value


class FakeStream(guarded_socket.Stream):
    """One that needs no network."""

    def __init__(self):
        self.used = False
        self.sent = b""

    def write(self, data, n=None):
        self.sent += data


def test_lend():
    for name in ("socket", "usocket"):
        library = Library(name=name)
        stream = FakeStream()
        assert guarded_socket.lend(stream, library, library.connect, 5) == 5
        assert library.sock is stream
        assert stream.sent == b"hello"
        assert getattr(library, name) is socket


def test_lend_gives_back_after_an_error():
    library = Library()
    with raises(ValueError, "library"):
        guarded_socket.lend(FakeStream(), library, library.connect, None)
    assert library.socket is socket


def test_lend_is_for_one_connection():
    # `requests` would follow a redirect by itself, to wherever that leads.
    library = Library()

    def twice():
        library.connect(5)
        library.connect(5)

    with raises(OSError, "a second connection"):
        guarded_socket.lend(FakeStream(), library, twice)
    assert library.socket is socket


def test_lend_refuses_a_connection_of_the_librarys_own():
    library = Library(uses=False)
    with raises(OSError):
        guarded_socket.lend(FakeStream(), library, library.connect, 5)
    assert library.socket is socket
