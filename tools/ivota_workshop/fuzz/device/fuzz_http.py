"""An HTTP answer to a Range request: what passes for the firmware's bytes.

The first character says what was asked: 0 from the first byte, 1 from the tenth, 2 that with an
ETag, 3 over a redirect; and 4 more each for other versions of `requests`.
"""

import room
from wire import Wire

from ivota import OtaError
from ivota import transfer as module
from ivota.messages import Push
from ivota.transfer import Transfer

SIZE = 1000
HTTP = {"ca": None, "timeout_s": 10, "deadline_s": 60}
ETAG = '"abc"'
libraries = [module.requests]
if room.ram:
    from doubles import requests_0_9_1, requests_0_10_2, requests_1_1_1

    libraries += [requests_0_9_1, requests_0_10_2, requests_1_1_1]


def check(data):
    which = data[0] - 48 if data[:1].isdigit() else 0
    asked = which % 4
    offset = 10 if asked else 0
    push = Push("0.2", "http://h:8000/f.bin", "0" * 32, SIZE)
    where = "http://other/" if asked == 3 else None
    answer = data[1:]
    module.requests = libraries[which // 4 % len(libraries)]
    with Wire(answer) as wire:
        try:
            made = Transfer(push, offset, HTTP, ETAG if asked == 2 else None, where)
        except OtaError as error:
            assert error.code in (-1, -2, -3, -4, -5) and wire.closed
            assert 0 <= error.after_s and (error.again or not error.after_s)
            outcome = "fail %d %s" % (error.code, error.again)
            made = None
    assert wire.connections == 1 and wire.ms <= 25000
    assert wire.sent.count(b"GET ") == 1 and b"Range: bytes=%d-\r\n" % offset in wire.sent
    if made is None:
        return outcome
    status = status_of(answer)
    if made.url is not None:
        # Between blanks alone, where the library takes any white space.
        words = answer.split(b"\n")[0].split(b" ")
        assert words[1][:1] == b"3", "a redirect of " + str(words)
        return "redirect"
    head = answer[: len(answer) - len(wire.out)]
    assert not wire.out or head[-1:] == b"\n"
    assert head.count(b"\n") <= 66 and len(head) <= 66 * 1024
    assert int(status) in (200, 206), status  # "+200" is one to the library
    assert made.skip == (offset if int(status) == 200 else 0)
    if int(status) == 206:
        value = field(head, b"content-range")
        assert value.startswith(b"bytes %d-" % offset), value
        # As texts are stripped; CPython strips more than MicroPython.
        assert int(str(value, "utf-8").strip().split("/")[-1]) == SIZE, value
    assert made.etag is None or made.etag[:1] == '"' and len(made.etag) <= 80
    return "skip %d" % made.skip


def status_of(answer):
    words = answer.split(b"\n")[0].split()
    return words[1] if len(words) > 1 else b""


def field(head, name):
    """The value of the last such line."""
    found = b""
    for line in head.split(b"\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            found = value.strip()
    return found
