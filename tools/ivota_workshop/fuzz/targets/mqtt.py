"""A broker's packets: lengths, topics and acknowledgements, in any order."""

from ..target import Bound, Mistake, Target

_TOPIC = b"$ota/update/P/d"


def _packet(head: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return b"." + bytes([head]) + length + body


def _message(payload: bytes, topic: bytes = _TOPIC, qos: int = 0) -> bytes:
    ident = b"\0\7" if qos else b""
    return _packet(0x30 | qos << 1, len(topic).to_bytes(2, "big") + topic + ident + payload)


def seeds() -> dict[str, bytes]:
    push = b'{"type": "x"}'
    return {
        "good": _message(push),
        "good-qos-1": _message(push, qos=1),
        "good-puback": b".\x40\x02\0\2" + _message(push)[1:],
        "good-pingresp": b".\xd0\0",
        "good-other-topic": _message(push, b"$ota/update/P/e"),
        "qos-2": _message(push, qos=2),
        "qos-3": _message(push, qos=3),
        "retained-again": b".\x3b" + _message(push)[2:],
        "empty-payload": _message(b""),
        "empty-topic": _message(push, b""),
        "topic-longer": _message(push, _TOPIC + b"/x"),
        "topic-nul": _message(push, b"$ota/\0"),
        "topic-not-utf8": _message(push, b"\xff\xfe"),
        "topic-wildcard": _message(push, b"$ota/update/P/#"),
        "topic-longer-than-the-packet": b".\x30\x05\xff\xffabc",
        "too-large": _message(b"x" * 600),
        "too-large-and-next": _message(b"x" * 600) + _message(push)[1:],
        "length-of-five-bytes": b".\x30\xff\xff\xff\xff\x01",
        "length-endless": b".\x30" + b"\xff" * 200,
        "length-of-2-to-28": b".\x30\xff\xff\xff\x7f" + b"x" * 100,
        "length-zero": b".\x30\0",
        "length-one": b".\x30\x01x",
        "puback-of-another": b".\x40\x02\xff\xff",
        "puback-twice": b".\x40\x02\0\2\x40\x02\0\2",
        "puback-long": b".\x40\x04\0\2\0\0",
        "puback-short": b".\x40\x01\0",
        "suback-again": b".\x90\x03\0\1\1",
        "suback-refused": b".\x90\x03\0\1\x80",
        "pingresp-long": b".\xd0\x05hello",
        "connack-again": b".\x20\x02\0\0",
        "disconnect": b".\xe0\0",
        "type-zero": b".\0\0",
        "type-fifteen": b".\xf0\0",
        "pubrel": b".\x62\x02\0\7",
        "http": b".HTTP/1.1 400 Bad Request\r\n\r\n",
        "nothing": b".",
        "connack-refused": b"C\x20\x02\0\5",
        "connack-good-then-silence": b"C\x20\x02\0\0",
        "connack-of-another-length": b"C\x20\x7f\0\0",
        "connack-is-none": b"CSSH-2.0",
        "connack-short": b"C\x20",
        "message-before-suback": b"C\x20\x02\0\0" + _message(push)[1:],
        "suback-of-another": b"C\x20\x02\0\0\x90\x03\xff\xff\1",
        "suback-long": b"C\x20\x02\0\0\x90\x7f\0\1\1",
    }


TARGET = Target(
    about="MQTT packets and topics",
    code=("lib/ivota/mqtt_session.py", "lib/ivota/guarded_socket.py", "umqtt/simple.py"),
    seeds=seeds,
    lines=Bound(20_000, 300),
    words=("$ota/update/P/d", "@\\x02\\x00\\x02", "\\x90\\x03", "0\\xff\\xff\\xff\\x7f"),
    mistakes=(
        Mistake(
            "accepts any topic",
            (("lib/ivota/mqtt_session.py", "if topic in self._topics or", "if topic or"),),
        ),
        Mistake(
            "accepts any acknowledgement",
            (
                (
                    "lib/ivota/mqtt_session.py",
                    "if packet[1] << 8 | packet[2] == self.waiting:",
                    "if packet:",
                ),
            ),
        ),
        Mistake(
            "does not catch exceptions",
            (
                (
                    "lib/ivota/mqtt_session.py",
                    "Exception as error:\n            self._lost(error)\n        return",
                    "OSError as error:\n            self._lost(error)\n        return",
                ),
            ),
        ),
    ),
)
