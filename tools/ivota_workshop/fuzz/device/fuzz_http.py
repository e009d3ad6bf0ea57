"""Check what an HTTP response to a Range request yields as the firmware's bytes.

The first character selects the request: 0 from the first byte, 1 from the tenth, 2 the same with
an ETag, 3 over a redirect; and 4 more for each of the other versions of `requests`.
"""

import room
from wire import Wire

from ivota import OtaError, response_check
from ivota import http_request as module

SIZE = 1000
HTTP = {"ca": None, "cert": None, "authorization": None, "timeout_s": 10, "deadline_s": 60}
ETAG = '"abc"'
libraries = [module.requests]
if room.ram:
    from doubles import requests_0_9_1, requests_0_10_2, requests_1_1_1

    libraries += [requests_0_9_1, requests_0_10_2, requests_1_1_1]


def check(data):
    which = data[0] - 48 if data[:1].isdigit() else 0
    asked = which % 4
    offset = 10 if asked else 0
    where = "http://other/" if asked == 3 else "http://h:8000/f.bin"
    etag = ETAG if asked == 2 else None
    answer = data[1:]
    module.requests = libraries[which // 4 % len(libraries)]
    with Wire(answer) as wire:
        made = None
        try:
            stream = module.send_request(where, offset, HTTP, etag, asked == 3)
            made = response_check.read(stream, offset, SIZE, etag)
        except OtaError as error:
            assert error.code in (-1, -2, -3, -4, -5)
            assert 0 <= error.after_s and (error.again or not error.after_s)
            outcome = "fail %d %s" % (error.code, error.again)
    assert wire.connections == 1 and wire.ms <= 25000
    assert wire.sent.count(b"GET ") == 1 and b"Range: bytes=%d-\r\n" % offset in wire.sent
    assert wire.sent.split(b"\r\n")[0].endswith(b" HTTP/1.1")
    head = answer[: len(answer) - len(wire.out)]
    assert len(head) <= 65600
    if made is None:
        return outcome
    location, skip, etag = made
    assert head[-1:] == b"\n"
    status, head = last(head)
    if location is not None:
        assert status[:1] == b"3" and 0 < len(location) <= 4096, "a redirect of " + str(status)
        return "redirect"
    assert status in (b"200", b"203", b"206"), status
    if status == b"206":
        # It begins at or before the requested offset.
        value = field(head, b"content-range")
        span, _, total = value.lower()[6:].partition(b"/")
        first, _, last_byte = span.partition(b"-")
        assert int(first) == offset - skip <= offset <= int(last_byte), value
        assert total == b"*" or int(total) == SIZE, value
    else:
        assert skip == offset
    assert etag is None or etag[:1] == '"' and len(etag) <= 80
    return "skip %d" % skip


def last(head):
    """Return (status, fields) of the last response in a head; earlier ones are interim."""
    while True:
        words = head.split(b"\n")[0].strip().split(b" ")
        status = words[1]
        if status[:1] != b"1":
            return status, head
        while head.split(b"\n")[0].strip():
            head = head[head.find(b"\n") + 1 :]
        head = head[head.find(b"\n") + 1 :]


def field(head, name):
    """Return the value of the last line of that name, with its continuation lines."""
    found = b""
    mine = False
    for line in head.split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t") and line.strip():
            found += b" " + line.strip() if mine else b""
            continue
        key, _, value = line.partition(b":")
        mine = key.lower() == name
        if mine:
            found = value.strip()
    return found.strip()
