"""umqtt.simple to the byte: the real 1.3.4 from PyPI, and the doubles of 1.6, 1.7 and 1.8.

Every test runs on every version; where they differ, DIFFERENCES says how. The traps that PLATFORM
lists are shown here, on the bare library.
"""

import errno

import umqtt.simple
from doubles import umqtt_1_6_0, umqtt_1_7_0, umqtt_1_8_0
from doubles.fakesocket import CLOSED, Hang, Network

from support import patched, raises

LIBRARIES = (
    ("1.3.4", umqtt.simple),
    ("1.6.0", umqtt_1_6_0),
    ("1.7.0", umqtt_1_7_0),
    ("1.8.0", umqtt_1_8_0),
)

DIFFERENCES = (
    # what                                                1.3.4   1.6.0   1.7.0   1.8.0
    ("connect() takes a timeout",                         (False, True,   True,   True)),
    ("connect() closes the socket it had",                (False, False,  False,  True)),
    ("an empty user name is sent",                        (True,  False,  False,  False)),
    ("a message's first byte is returned",                (False, True,   True,   True)),
    ("unsubscribe() is there",                            (False, False,  True,   True)),
    ("a topic of 123 bytes can be subscribed",            (False, False,  False,  True)),
    ("a subscription's id past 65535 is an error",        (False, False,  False,  True)),
)  # fmt: skip

CONNACK = b"\x20\2\0\0"
SUBACK_1 = b"\x90\3\0\1\1"


def versions():
    """(library, what of DIFFERENCES is true of it) for each version."""
    for column, (_, library) in enumerate(LIBRARIES):
        yield library, {what: row[column] for what, row in DIFFERENCES}


class Session:
    """`with Session(library, *script) as (client, network):`, connected unless told otherwise."""

    def __init__(self, library, *script, connect=True, port="unix", **options):
        self._network = Network((CONNACK,) + script if connect else script, port=port)
        self._patch = patched(library, socket=self._network)
        self._library = library
        self._connect = connect
        self._options = options

    def __enter__(self):
        self._patch.__enter__()
        client = self._library.MQTTClient(b"id", "broker", **self._options)
        self.messages = []
        client.set_callback(lambda topic, message: self.messages.append((topic, message)))
        if self._connect:
            client.connect()
            self._network.sockets[0].sent = b""
        client.messages = self.messages
        return client, self._network

    def __exit__(self, *exc):
        self._patch.__exit__(*exc)


def message(topic, payload, first=0x30, pid=b""):
    size = 2 + len(topic) + len(pid) + len(payload)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([first]) + length + len(topic).to_bytes(2, "big") + topic + pid + payload


class TooLong:
    def __len__(self):
        return (1 << 21) - 3


# Connecting.


def test_connect():
    for library, _ in versions():
        with Session(library, CONNACK, connect=False) as (client, network):
            assert client.connect() == 0
            assert network.lookups == [("broker", 1883)]
            assert network.sockets[0].address == ("broker", 1883)
            assert network.sent() == b"\x10\x0e\0\4MQTT\4\2\0\0\0\2id"
        with Session(library, b"\x20\2\1\0", connect=False, port="unix") as (client, network):
            assert client.connect(False) == 1
            assert network.sent() == b"\x10\x0e\0\4MQTT\4\0\0\0\0\2id"


def test_connect_with_everything():
    for library, _ in versions():
        options = {"user": "user", "password": b"secret", "keepalive": 300}
        with Session(library, CONNACK, connect=False, **options) as (client, network):
            client.set_last_will(b"will", b"gone", True, 1)
            client.connect()
            assert network.sent() == (
                b"\x10\x28\0\4MQTT\4\xee\1\x2c\0\2id\0\4will\0\4gone\0\4user\0\6secret"
            )


def test_connect_with_a_long_length():
    for library, _ in versions():
        options = {"user": b"u" * 100, "password": b"p" * 100}
        with Session(library, CONNACK, connect=False, **options) as (client, network):
            client.connect()
            assert network.sent()[:12] == b"\x10\xda\1\0\4MQTT\4\xc2\0"
            assert len(network.sent()) == 3 + 218


def test_an_empty_user_name():
    for library, differs in versions():
        options = {"user": "", "password": ""}
        with Session(library, CONNACK, connect=False, **options) as (client, network):
            client.connect()
            flags = network.sent()[9]
            assert flags == (0xC2 if differs["an empty user name is sent"] else 2)


def test_too_long_a_keepalive():
    for library, _ in versions():
        with Session(library, CONNACK, connect=False, keepalive=65536) as (client, network):
            with raises(AssertionError):
                client.connect()


def test_a_refused_connection():
    for library, _ in versions():
        with Session(library, b"\x20\2\0\5", connect=False) as (client, _):
            with raises(library.MQTTException) as caught:
                client.connect()
            assert caught.value.args == (5,)
        with Session(library, b"\x30\2\0\0", connect=False) as (client, _):
            with raises(AssertionError):
                client.connect()


def test_trap_closed_before_connack_is_indexerror():
    for library, _ in versions():
        for script in ((CLOSED,), (b"\x20\2", CLOSED)):
            with Session(library, *script, connect=False) as (client, _):
                with raises(IndexError):
                    client.connect()


def test_trap_connack_is_awaited_for_ever():
    for library, differs in versions():
        with Session(library, connect=False) as (client, network):
            with raises(Hang):
                client.connect()
            takes = differs["connect() takes a timeout"]
            assert network.sockets[0].timeouts == ([None] if takes else [])
            if takes:
                with raises(OSError) as caught:
                    client.connect(True, 5)
                assert caught.value.errno == errno.ETIMEDOUT
                assert network.sockets[1].timeouts == [5]
                with raises(OSError):
                    client.connect(timeout=5)
            else:
                with raises(TypeError):
                    client.connect(timeout=5)


def test_connecting_again():
    for library, differs in versions():
        network = Network([CONNACK], [CONNACK])
        with patched(library, socket=network):
            client = library.MQTTClient(b"id", "broker")
            client.connect()
            client.connect()
            closes = differs["connect() closes the socket it had"]
            assert network.sockets[0].closed == closes
            assert client.sock is network.sockets[1]


def test_tls():
    class Context:
        def wrap_socket(self, sock, **options):
            self.options = options
            return sock

    for library, _ in versions():
        if library is umqtt.simple:
            with Session(library, CONNACK, connect=False, ssl=True) as (client, network):
                with raises(ImportError, "ussl"):
                    client.connect()
                assert network.lookups == [("broker", 8883)]
            continue
        context = Context()
        with Session(library, CONNACK, connect=False, ssl=context) as (client, network):
            client.connect()
            assert context.options == {"server_hostname": "broker"}
            assert network.lookups == [("broker", 8883)]
        with Session(library, CONNACK, connect=False, ssl=True) as (client, network):
            # `ssl` is not there, or takes no double of a socket.
            with raises((ImportError, OSError)):
                client.connect()


# Sending.


def test_ping_and_disconnect():
    for library, _ in versions():
        with Session(library) as (client, network):
            client.ping()
            assert network.sent() == b"\xc0\0"
            client.disconnect()
            assert network.sent() == b"\xc0\0\xe0\0"
            assert network.sockets[0].closed


def test_publish():
    for library, _ in versions():
        with Session(library) as (client, network):
            client.publish(b"t/x", b"hello")
            assert network.sent() == b"\x30\x0a\0\3t/xhello"
            network.sockets[0].sent = b""
            client.publish("t", "text", True)
            assert network.sent() == b"\x31\x07\0\1ttext"
            for size, length in ((200, b"\xcb\1"), (20000, b"\xa3\x9c\1")):
                network.sockets[0].sent = b""
                client.publish(b"t", bytes(size))
                assert network.sent() == b"\x30" + length + b"\0\1t" + bytes(size)
            with raises(AssertionError):
                client.publish(b"t", TooLong())


def test_publish_with_acknowledgement():
    for library, _ in versions():
        answers = (message(b"other", b"first"), b"\x40\2\0\7", b"\xd0\0", b"\x40\2\0\1")
        with Session(library, *answers) as (client, network):
            client.publish(b"t", b"hello", qos=1)
            assert network.sent() == b"\x32\x0a\0\1t\0\1hello"
            assert client.pid == 1
            assert client.messages == [(b"other", b"first")]
            assert network.sockets[0]._queue == []


def test_publish_with_bad_acknowledgements():
    for library, _ in versions():
        with Session(library, b"\x40\3\0\1") as (client, _):
            with raises(AssertionError):
                client.publish(b"t", b"", qos=1)
        with Session(library, CLOSED) as (client, _):
            with raises(OSError) as caught:
                client.publish(b"t", b"", qos=1)
            assert caught.value.errno == -1


def test_trap_qos_2_is_sent_and_then_fails():
    for library, _ in versions():
        with Session(library) as (client, network):
            with raises(AssertionError):
                client.publish(b"t", b"hello", qos=2)
            assert network.sent() == b"\x34\x0a\0\1t\0\1hello"


def test_trap_a_text_beyond_ascii_corrupts_the_packet():
    for library, _ in versions():
        with Session(library) as (client, network):
            client.publish("é", "ü")
            assert network.sent() == b"\x30\4\0\1\xc3\xa9\xc3\xbc"
            network.sockets[0].sent = b""
            client.publish("é".encode(), "ü".encode())
            assert network.sent() == b"\x30\6\0\2\xc3\xa9\xc3\xbc"


def test_trap_an_acknowledgement_is_awaited_for_ever():
    for library, _ in versions():
        for port, ends in (("unix", OSError), ("esp32", Hang)):
            # A ping's answer is what takes the timeout away on esp32.
            with Session(library, b"\xd0\0", port=port) as (client, network):
                client.sock.settimeout(5)
                with raises(ends):
                    client.publish(b"t", b"hello", qos=1)


def test_trap_packet_numbers_pass_65535():
    for library, _ in versions():
        with Session(library, b"\x40\2\0\0") as (client, network):
            client.pid = 65535
            with raises(Hang):  # the broker acknowledged what was sent: 0, not 65536
                client.publish(b"t", b"", qos=1)
            assert network.sent() == b"\x32\5\0\1t\0\0"
            assert client.pid == 65536


# Subscribing.


def test_subscribe():
    for library, _ in versions():
        with Session(library, message(b"r", b"1"), SUBACK_1) as (client, network):
            client.subscribe(b"t/x", 1)
            assert network.sent() == b"\x82\x08\0\1\0\3t/x\1"
            assert client.messages == [(b"r", b"1")]
        with Session(library, b"\x90\3\0\1\0") as (client, network):
            client.subscribe("t")
            assert network.sent() == b"\x82\6\0\1\0\1t\0"


def test_a_refused_subscription():
    for library, _ in versions():
        with Session(library, b"\x90\3\0\1\x80") as (client, _):
            with raises(library.MQTTException) as caught:
                client.subscribe(b"t")
            assert caught.value.args == (0x80,)
        with Session(library, b"\x90\3\0\2\0") as (client, _):
            with raises(AssertionError):
                client.subscribe(b"t")
        with Session(library, b"\x90\3\0\1\0") as (client, _):
            client.set_callback(None)
            with raises(AssertionError, "callback"):
                client.subscribe(b"t")


def test_trap_a_topic_of_123_bytes():
    for library, differs in versions():
        with Session(library, b"\x90\3\0\1\0") as (client, network):
            client.subscribe(b"t" * 122)
            assert network.sent() == b"\x82\x7f\0\1\0\x7a" + b"t" * 122 + b"\0"
        with Session(library, b"\x90\3\0\1\0") as (client, network):
            client.subscribe(b"t" * 123)
            length = b"\x80\1" if differs["a topic of 123 bytes can be subscribed"] else b"\x80"
            assert network.sent() == b"\x82" + length + b"\0\1\0\x7b" + b"t" * 123 + b"\0"


def test_trap_a_subscriptions_number_past_65535():
    for library, differs in versions():
        with Session(library, b"\x90\3\0\0\0") as (client, network):
            client.pid = 65535
            if differs["a subscription's id past 65535 is an error"]:
                with raises(AssertionError):
                    client.subscribe(b"t")
            else:
                client.subscribe(b"t")
            assert network.sent() == b"\x82\6\0\0\0\1t\0"


def test_unsubscribe():
    for library, differs in versions():
        with Session(library, b"\xb0\2\0\1") as (client, network):
            assert hasattr(client, "unsubscribe") == differs["unsubscribe() is there"]
            if hasattr(client, "unsubscribe"):
                client.unsubscribe(b"t/x")
                assert network.sent() == b"\xa2\7\0\1\0\3t/x"


# Receiving.


def test_messages():
    for library, differs in versions():
        returned = differs["a message's first byte is returned"]
        script = (
            message(b"t/x", b"hello"),
            message(b"t", b"", 0x31),
            message(b"t", b"x" * 300),
            message(b"t", b"acknowledge", 0x32, b"\1\2"),
        )
        with Session(library, *script) as (client, network):
            assert client.wait_msg() == (0x30 if returned else None)
            assert client.check_msg() == (0x31 if returned else None)
            client.wait_msg()
            assert network.sent() == b""
            client.wait_msg()
            assert network.sent() == b"\x40\2\1\2"
            assert client.messages == [
                (b"t/x", b"hello"),
                (b"t", b""),
                (b"t", b"x" * 300),
                (b"t", b"acknowledge"),
            ]


def test_trap_the_callback_comes_before_the_acknowledgement():
    for library, _ in versions():
        with Session(library, message(b"t", b"x", 0x32, b"\1\2")) as (client, network):

            def failing(topic, payload):
                assert network.sent() == b""
                raise KeyError

            client.set_callback(failing)
            with raises(KeyError):
                client.wait_msg()
            assert network.sent() == b""


def test_trap_a_message_of_qos_2():
    for library, _ in versions():
        with Session(library, message(b"t", b"x", 0x34, b"\1\2")) as (client, network):
            with raises(AssertionError):
                client.wait_msg()
            assert client.messages == [(b"t", b"x")]
            assert network.sent() == b""


def test_trap_one_read_of_any_size():
    for library, _ in versions():
        # 1 MiB announced, and nothing like it sent.
        with Session(library, b"\x30\x83\x80\x40\0\1t", CLOSED) as (client, network):
            client.wait_msg()
            assert 1 << 20 in network.sockets[0].reads
            assert client.messages == [(b"t", b"")]  # cut short, and nobody told


def test_trap_the_end_is_oserror_minus_1():
    for library, _ in versions():
        with Session(library, CLOSED) as (client, _):
            with raises(OSError) as caught:
                client.wait_msg()
            assert caught.value.args == (-1,)
        for part in (b"\x30", b"\xd0", b"\x30\x85", b"\x30\5\0"):
            with Session(library, part, CLOSED) as (client, _):
                with raises(IndexError):
                    client.wait_msg()


def test_trap_ping_answer_and_nothing_are_both_none():
    for library, _ in versions():
        with Session(library, b"\xd0\0") as (client, _):
            assert client.check_msg() is None
            assert client.check_msg() is None
        with Session(library, b"\xd0\1") as (client, _):
            with raises(AssertionError):
                client.check_msg()


def test_trap_nothing_pings_by_itself():
    for library, _ in versions():
        with Session(library, keepalive=1) as (client, network):
            for _ in range(10):
                network.clock.advance_ms(60000)
                assert client.check_msg() is None
            assert network.sent() == b""


def test_trap_a_late_acknowledgement_puts_the_stream_out_of_step():
    for library, _ in versions():
        with Session(library, b"\x40\2\0\1", message(b"t", b"x")) as (client, network):
            assert client.check_msg() == 0x40
            assert client.check_msg() == 2  # its body, taken for packets
            assert client.check_msg() == 0
            assert client.check_msg() == 1
            client.check_msg()
            assert client.messages == [(b"t", b"x")]


def test_trap_setblocking_removes_the_timeout_on_esp32():
    for library, _ in versions():
        for port, ends in (("unix", OSError), ("esp32", Hang)):
            with Session(library, message(b"t", b"x"), port=port) as (client, network):
                client.sock.settimeout(5)
                client.wait_msg()
                assert network.sockets[0].waits_for_ever() == (port == "esp32")
                with raises(ends):
                    client.wait_msg()


def test_trap_half_a_packet_stops_check_msg():
    for library, _ in versions():
        for port, ends in (("unix", OSError), ("esp32", Hang)):
            with Session(library, b"\x30", port=port) as (client, network):
                client.sock.settimeout(5)
                with raises(ends):
                    client.check_msg()
