"""ivota on every supported version of umqtt.simple and requests, on sockets as esp32 has them."""

import errno

import requests
import umqtt.simple
from doubles import (
    requests_0_9_1,
    requests_0_10_2,
    requests_1_1_1,
    umqtt_1_6_0,
    umqtt_1_7_0,
    umqtt_1_8_0,
)
from doubles.fakesocket import CLOSED, Network
from webserver import Transfer

import ivota
from ivota import OtaError, guarded_socket, http_request, mqtt_session, session_setup
from ivota.firmware_offer import Push
from support import installed, patched, raises

UMQTT = (umqtt.simple, umqtt_1_6_0, umqtt_1_7_0, umqtt_1_8_0)
REQUESTS = (requests, requests_0_9_1, requests_0_10_2, requests_1_1_1)

MQTT = {
    "host": "broker",
    "port": 1883,
    "tls": False,
    "ca": None,
    "cert": None,
    "key": None,
    "user": "u",
    "password": "p",
    "keepalive_s": 60,
    "max_message_bytes": 4096,
}
TOPIC = "t" * 123  # umqtt up to 1.7.0 can't subscribe to one this long
NAME = b"\0\x7b" + TOPIC.encode()
CONNACK = b"\x20\x02\0\0"
SUBACK = b"\x90\x03\0\x01\x01"
HTTP = {
    "timeout_s": 10,
    "deadline_s": 60,
    "ca": None,
    "cert": None,
    "key": None,
    "authorization": None,
}
BODY = bytes(range(200))
PARTIAL = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 100-199/200\r\n"
    b'content-length: 100\r\nETag: "e"\r\n\r\n'
)


class World:
    """`with World(script…) as network:` is what `net` has for sockets, poll and time."""

    def __init__(self, *scripts):
        self.network = Network(*scripts, port="esp32")

    def __enter__(self):
        self._patch = patched(
            guarded_socket, socket=self.network, select=self.network, errno=self.network.errno
        )
        self._patch.__enter__()
        self.network.clock.put_into(guarded_socket, mqtt_session, ivota)
        return self.network

    def __exit__(self, *exc):
        self.network.clock.__exit__(*exc)
        self._patch.__exit__(*exc)


class Owner:
    def __init__(self):
        self.heard = []
        self.acks = 0

    def on_up(self):
        pass

    def on_message(self, payload):
        self.heard.append(bytes(payload))

    def on_idle(self):
        pass

    def on_acked(self):
        self.acks += 1


def make():
    owner = Owner()
    owner.lost = []

    def log(_level, event, **fields):
        if event == "link_lost":
            owner.lost.append(fields["why"])

    owner.log = log
    config = {
        "product_id": "",
        "device_name": "d",
        "device_secret": None,
        "mqtt": MQTT,
        "http": {"timeout_s": 10},
        "retry": {"first_s": 1, "most_s": 1},
        "topics": {"update": TOPIC},
    }
    made = mqtt_session.Link(config, owner)
    return made, owner


def settle(made):
    while made.step():
        pass


def test_a_session_on_every_umqtt():
    for library in UMQTT:
        with patched(session_setup, umqtt=library), World([CONNACK, SUBACK]) as network:
            made, owner = make()
            settle(made)
            assert made.up and made._stream.used and made._client.sock is made._stream
            sock = network.sockets[0]
            expected = b"\x10\x13\0\x04MQTT\x04\xc2\0\x3c\0\x01d\0\x01u\0\x01p"
            expected += b"\x82\x80\x01\0\x01" + NAME + b"\x01"
            assert sock.sent == expected
            assert made.publish("r", "x", 1)
            sock.push(b"\x40\x02\0\x02", b"\x32\x83\x01" + NAME + b"\0\x07hello!"[:6])
            settle(made)
            assert owner.acks == 1 and owner.heard == [b"hell"]
            network.clock.advance_ms(31000)
            made.step()
            assert sock.sent.endswith(b"\x32\x06\0\x01r\0\x02x\x40\x02\0\x07\xc0\0")
            sock.push(b"\xd0\0")
            settle(made)
            network.clock.advance_ms(1000)
            assert made.step() is False and made.up
            assert network.lookups == [("broker", 1883)]
            assert not owner.lost


def test_packet_ids_stay_in_range_on_every_umqtt():
    for library in UMQTT:
        with patched(session_setup, umqtt=library), World([CONNACK, SUBACK]) as network:
            made, owner = make()
            settle(made)
            made._client.pid = 64990
            for n in range(30):
                assert made.publish("r", "x", 1)
                assert 0 < made.waiting < 65536
                network.sockets[0].push(b"\x40\x02" + made.waiting.to_bytes(2, "big"))
                settle(made)
                assert owner.acks == n + 1


def test_no_version_waits_longer_than_its_deadline():
    for library in UMQTT:
        for script in (
            [],
            [CONNACK[:2]],
            [CONNACK, SUBACK[:3]],
            [CONNACK, SUBACK, b"\x30"],
            [CONNACK, SUBACK, b"\x30\x7f\0\x03t"],
            [CONNACK, SUBACK, b"\x40"],
            [CONNACK, SUBACK, b"\xd0"],
            [CONNACK, SUBACK, b"\x30"] + [400, b"\xff"] * 100,
        ):
            with patched(session_setup, umqtt=library), World(script) as network:
                made, owner = make()
                start = network.clock.now_ms()
                while not owner.lost:
                    begun = network.clock.now_ms()
                    if not made.step():
                        network.clock.advance_ms(10)
                    assert network.clock.now_ms() - begun <= 10010
                assert network.clock.now_ms() - start <= 25000, script
                assert network.sockets[0].closed


def test_what_any_umqtt_raises_is_a_lost_link():
    for library in UMQTT:
        for script in ([CLOSED], [b"\x20\x02\0\x05"], [b"\xd0\0\0\0"], [CONNACK, SUBACK, CLOSED]):
            in_use = patched(session_setup, umqtt=library)
            with in_use, World(script, [CONNACK, SUBACK]) as network:
                made, owner = make()
                for _ in range(10):
                    made.step()
                    network.clock.advance_ms(500)
                assert len(owner.lost) == 1 and made.up, script


def test_an_answer_on_every_requests():
    push = Push("2", "http://files:81/f?a=b", "0" * 32, 200)
    for library in REQUESTS:
        with patched(http_request, requests=library), World([PARTIAL + BODY[100:]]) as network:
            made = Transfer(push, 100, HTTP)
            assert made.skip == 0 and made.etag == '"e"'
            assert made.stream.raw is network.sockets[0]
            got = bytearray(100)
            assert made.stream.raw.readinto(got) == 100 and got == BODY[100:]
            assert network.lookups == [("files", 81)]
            sent = network.sockets[0].sent
            assert sent.startswith(b"GET /f?a=b HTTP/1.")
            assert b"Range: bytes=100-\r\n" in sent
            made.close()
            assert network.sockets[0].closed


def _lines(*lines):
    return b"\r\n".join((b"HTTP/1.1 206 Partial Content",) + lines) + b"\r\n\r\n"


RANGE = b"Content-Range: bytes 100-199/200"
CHUNKED = b"Transfer-Encoding: chunked"
LONG = b"x" * 3600
# Each answer to a request from byte 100 on, and what becomes of it: the bytes, or the words.
ANSWERS = (
    (_lines(RANGE) + BODY[100:], BODY[100:]),
    (_lines(RANGE.lower()) + BODY[100:], BODY[100:]),
    ((_lines(RANGE) + BODY[100:]).replace(b"\r\n", b"\n"), BODY[100:]),
    (_lines(RANGE).replace(b" Partial Content", b"") + BODY[100:], BODY[100:]),
    (b"HTTP/1.1 203 X\r\nContent-Length: 200\r\n\r\n" + BODY, BODY),
    # Long lines: a policy, a cookie
    (_lines(b"Content-Security-Policy: " + LONG, RANGE) + BODY[100:], BODY[100:]),
    (_lines(b"Set-Cookie: a=" + LONG, b"Set-Cookie: b=" + LONG, RANGE) + BODY[100:], BODY[100:]),
    (_lines(*[b"X-%d: y" % n for n in range(100)], RANGE) + BODY[100:], BODY[100:]),
    (_lines(b"ETag: " + LONG, RANGE) + BODY[100:], BODY[100:]),
    # Folded lines, and lines that have no colon
    (_lines(b"Content-Range:", b"  bytes 100-199/200") + BODY[100:], BODY[100:]),
    (_lines(b"Content-Range: bytes", b"\t100-199/200") + BODY[100:], BODY[100:]),
    (_lines(b"X: y", b" Content-Range: bytes 0-1/2", b"z", b"\xff: \xff", RANGE), b""),
    # Answers before the answer
    (b"HTTP/1.1 100 Continue\r\n\r\n" + _lines(RANGE) + BODY[100:], BODY[100:]),
    (b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n" * 3 + _lines(RANGE) + BODY[100:], BODY[100:]),
    # Chunks
    (_lines(RANGE, CHUNKED) + b"64\r\n" + BODY[100:] + b"\r\n0\r\n\r\n", BODY[100:]),
    (_lines(RANGE, CHUNKED.lower()) + b"1\r\nx\r\n0\r\n\r\n", b"x"),
    (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding:Chunked\r\n\r\nc8;a=b\r\n" + BODY + b"\r\n0\r\n",
        BODY,
    ),
    # Refused
    (_lines(RANGE, CHUNKED) + b"no number\r\n", "the response has invalid chunks"),
    (_lines(RANGE, b"Transfer-Encoding: gzip, chunked"), "the response is compressed"),
    (_lines(RANGE, b"Content-Encoding: br"), "the response is compressed"),
    (b"HTTP/1.1 206\r\nContent-Range: " + LONG, "the server closed the connection early"),
    (
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + LONG + b"\r\n") * 20,
        "the response header is longer than 64 KiB",
    ),
    (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "the response has an invalid length"),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "the server's file has 5 bytes, but the push says 200",
    ),
    (
        _lines(b"Content-Range: bytes 100-199"),
        "HTTP 206 has range 'bytes 100-199', but 100- was requested",
    ),
    (b"HTTP/1.1 twohundred\r\n\r\n", "the response is not HTTP"),
    (b"SSH-2.0-OpenSSH\r\n", "the response is not HTTP"),
    (b"\x15\x03\x01\0\x02\x02\x50", "the server closed the connection early"),
    (b"HTTP/1.1 302 Found\r\n\r\n", "HTTP 302"),
    (b"HTTP/1.1 305 X\r\nLocation: http://proxy/\r\n\r\n", "HTTP 305"),
    (b"HTTP/1.1 101 X\r\n\r\n", "HTTP 101"),
    (
        b"HTTP/1.1 302 Found\r\nLocation: /" + b"x" * 4096 + b"\r\n\r\n",
        "a redirect to a URL of more than 4096 bytes",
    ),
    (OSError(errno.ECONNREFUSED), "no server listens on this port (ECONNREFUSED)"),
    (OSError(errno.EHOSTUNREACH), "no network, or no route to this address (EHOSTUNREACH)"),
)


def test_the_same_request_and_the_same_outcome_on_every_requests():
    push = Push("2", "http://files:81/f?a=b", "0" * 32, 200)
    for script, expected in ANSWERS:
        if isinstance(script, bytes):
            script = [script, CLOSED]
        for library in REQUESTS:
            with patched(http_request, requests=library), World(script) as network:
                with installed("errno", network.errno):
                    found = outcome(push)
                assert found == expected, (library.__version__, script, found)
                sock = network.sockets[0]
                assert sock.closed and len(network.sockets) == 1
                if sock.sent:
                    lines = sock.sent.split(b"\r\n")
                    assert lines[0] == b"GET /f?a=b HTTP/1.1", library.__version__
                    assert sorted(lines[1:]) == [
                        b"",
                        b"",
                        b"Accept-Encoding: identity",
                        b"Connection: close",
                        b"Host: files:81",
                        b"Range: bytes=100-",
                        b"User-Agent: ivota/" + ivota.__version__.encode(),
                    ]


def outcome(push):
    """The bytes that a request brings, or the words of what it fails of."""
    made = None
    try:
        made = Transfer(push, 100, HTTP)
        buffer = bytearray(64)
        got = b""
        while True:
            n = made.stream.raw.readinto(buffer, 64)
            if not n:
                assert n == 0
                return got
            got += buffer[:n]
    except OtaError as error:
        assert error.again
        return error.message
    finally:
        if made:
            made.close()


def test_a_location_may_be_as_long_as_a_pushed_url():
    push = Push("2", "http://files/f", "0" * 32, 200)
    place = b"http://other/" + b"x" * 4083
    for library in REQUESTS:
        with patched(http_request, requests=library):
            with World(
                [b"HTTP/1.1 307 X\r\nLocation: " + place + b"\r\n\r\n"], [PARTIAL]
            ) as network:
                first = Transfer(push, 100, HTTP)
                made = Transfer(push, 100, HTTP, to=first.url)
                assert (
                    network.sockets[1].sent[:4099] == b"GET " + place[12:] + b" HTTP/1.1\r\n"[:12]
                )
                made.close()


def test_a_redirect_is_ours_to_follow_on_every_requests():
    push = Push("2", "http://files/f", "0" * 32, 200)
    for library in REQUESTS:
        for place in (b"http://other/g", b"/g"):
            moved = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n"
            with patched(http_request, requests=library), World([moved], [PARTIAL]) as network:
                first = Transfer(push, 100, HTTP)
                Transfer(push, 100, HTTP, to=first.url)
                host = "other" if b"other" in place else "files"
                assert network.lookups == [("files", 80), (host, 80)]
                assert network.sockets[0].closed
                assert b"Range: bytes=100-" in network.sockets[1].sent


def test_no_answer_keeps_any_requests_longer_than_its_deadline():
    push = Push("2", "http://files/f", "0" * 32, 200)
    for library in REQUESTS:
        for script in (
            [],
            [b"HTTP/1.1 2"],
            [b"HTTP/1.1 200 OK\r\nX: "] + [400, b"x"] * 100,
            [b"HTTP/1.1 200 OK\r\n"] + [400, b"X: y\r\n"] * 100,
            [b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n"],
        ):
            with patched(http_request, requests=library), World(script, []) as network:
                start = network.clock.now_ms()
                with raises(OtaError) as caught:
                    made = Transfer(push, 100, HTTP)
                    Transfer(push, 100, HTTP, to=made.url)
                assert caught.value.again, script
                assert network.clock.now_ms() - start <= 20000, script
                assert all(sock.closed for sock in network.sockets)


class Bypass:
    """A library that takes its socket from elsewhere, as a new version might."""

    socket = None

    def __init__(self, library):
        self.socket = guarded_socket.socket
        self.MQTTClient = getattr(library, "MQTTClient", None)
        self.request = getattr(library, "request", None)


def test_a_umqtt_that_bypasses_the_guard_is_refused():
    for library in UMQTT:
        with World([], [CONNACK, SUBACK]) as network:
            name = "socket" if hasattr(library, "socket") else "usocket"
            in_use = patched(session_setup, umqtt=Bypass(library))
            with in_use, patched(library, **{name: network}):
                made, owner = make()
                made.step()
                assert len(network.sockets) == 2 and owner.lost and not made.up
                assert network.sockets[0].closed and network.sockets[0].sent == b""


def test_a_requests_that_bypasses_the_guard_is_refused():
    push = Push("2", "http://files/f", "0" * 32, 200)
    for library in REQUESTS:
        with World([], [PARTIAL]) as network:
            name = "socket" if hasattr(library, "socket") else "usocket"
            bypass = patched(http_request, requests=Bypass(library))
            with bypass, patched(library, **{name: network}):
                with raises(OtaError) as caught:
                    Transfer(push, 100, HTTP)
                assert "its own connection" in str(caught.value)
                assert len(network.sockets) == 2 and network.sockets[0].closed
