"""The phase in which the server answers: all of that is checked before a byte is used."""

import time

from micropython import const

from ivota import OtaError, again, describe, once

_MISMATCH = const(-4)
_REDIRECTS = const(5)
_POLLIN = const(1)
_PART = const(64)  # bytes that one read allocates, however short the line is
_KEPT = const(256)  # bytes kept of a line; of a Location as many as a URL may have
_HEAD = const(65536)  # bytes that a head may have in all
# Texts of up to ten characters would become names, which stay in the heap; bytes do not.
_PLAIN = b"identity"
_CHUNKED = b"chunked"


def step(job):
    """Take in the head; what follows is received, or another URL is asked."""
    config = job.client.config
    target = job.target
    location, skip, etag = read(
        job.stream,
        target.position,
        target.size,
        job.etag,
        config["mqtt"]["max_message_bytes"],
    )
    if location:
        job.stream.close()
        job.stream = None
        job.hops += 1
        if job.hops > _REDIRECTS:
            raise again("too many redirects")
        job.url = once("url").follow(job.url or job.push.url, location)
        job.phase = "http_range"
        return True
    job.etag = etag
    job.skip = skip
    job.deadline_ms = int(config["http"]["deadline_s"] * 1000)
    job.durable_at = time.ticks_ms()
    job.phase = target.phase
    return True


def read(stream, offset, size, etag=None, longest=4096):
    """(location, skip, etag): where a redirect leads to, of at most `longest` bytes, or None.

    Without one `stream.raw.readinto(buffer, n)` gives what is there of the body, None for nothing
    yet, 0 at its end; `skip` bytes of it come before `offset`, and `etag` is the file's name if
    the server gave it a strong one. The `etag` given is what was asked for. Raises `OtaError`;
    `again` in it says that another try may work, with the code of a mismatch only one from the
    first byte.
    """
    try:
        return _read(stream, offset, size, etag, longest)
    except OSError as error:
        raise again(describe(error))


def _read(stream, offset, size, asked, longest):
    stream.begin()  # the request is out, and with it a TLS handshake
    fields = {
        b"content-length": b"",
        b"content-range": b"",
        b"content-type": b"",
        b"content-encoding": _PLAIN,
        b"transfer-encoding": _PLAIN,
        b"etag": b"",
        b"location": b"",
        b"retry-after": b"",
        b"date": b"",
    }
    status = _head(stream, fields, longest)
    location = fields[b"location"]
    if location and status in (300, 301, 302, 303, 307, 308):
        return location.decode(), 0, None
    # 203 is a 200 from a proxy.
    if status not in (200, 203, 206):
        raise once("http_status").refusal(status, offset, fields)
    coding = fields[b"transfer-encoding"].lower()
    encoding = fields[b"content-encoding"].lower() or _PLAIN
    if coding not in (_PLAIN, _CHUNKED) or encoding != _PLAIN:
        raise again("an encoded answer")
    first = 0
    if status == 206:
        first, total = _range(fields[b"content-range"], offset)
    else:
        total = b"" if coding == _CHUNKED else fields[b"content-length"]
        once("http_status").compare(fields[b"content-type"].lower(), total, offset, size)
    etag = fields[b"etag"].decode()
    if asked and etag and etag != asked:
        raise OtaError(_MISMATCH, "the file on the server has changed", True)
    if status == 206 and total != b"*" and int(total) != size:
        raise once("http_status").another_size(total, size, offset)
    if coding == _CHUNKED:
        stream.raw = once("chunked").Body(stream.raw)
    # A weak validator does not promise the same bytes (RFC 9110, 13.1.5).
    strong = fields[b"etag"][:1] == b'"' and len(etag) <= 80
    return None, offset - first, etag if strong else None


def _range(value, offset):
    """(first byte, total) of a Content-Range with the byte at `offset` in it; total may be "*"."""
    unit, _, rest = value.lower().partition(b" ")
    span, _, total = rest.partition(b"/")
    first, _, last = span.partition(b"-")
    if (
        unit != b"bytes"
        or not (first.isdigit() and last.isdigit() and (total == b"*" or total.isdigit()))
        or not int(first) <= offset <= int(last)
    ):
        raise again("206 of '%s', asked for %d-" % (value.decode()[:40], offset))
    return int(first), total


def _head(stream, fields, longest):
    """Read up to the end of the head and return the status.

    `fields` has the names to look for, in lower case, with the values of fields that are absent.
    A line that is not looked for is skipped, whatever its length.
    """
    lines = _lines(stream, longest)
    while True:
        words = next(lines).strip().split(b" ", 2)
        if (
            len(words) < 2
            or words[0][:5] != b"HTTP/"
            or len(words[1]) != 3
            or not words[1].isdigit()
        ):
            raise again("the server's answer is not HTTP")
        status = int(words[1])
        _read_fields(lines, fields, longest)
        # 100 to 199 announce the answer that follows; 101 would be another protocol.
        if status == 101 or not 100 <= status < 200:
            return status


def _read_fields(lines, fields, longest):
    absent = dict(fields)
    name = None
    for line in lines:
        text = line.strip()
        if not text:
            break
        if line[0] in b" \t":  # the value of the line before goes on
            if name and len(fields[name]) <= longest:
                fields[name] += b" " + text
            continue
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in fields:
            name = None
            continue
        value = value.strip()
        if fields[name] not in (absent[name], value):
            value = fields[name] + b", " + value
        fields[name] = value
    if len(fields[b"location"]) > longest:
        raise again("a redirect to a URL of more than %d bytes" % longest)
    for name in absent:
        value = fields[name] = fields[name].strip()
        # Nothing beyond ASCII is of use, so no other code has to think of it.
        if value and not 32 <= min(value) <= max(value) <= 126:
            fields[name] = absent[name]


def _lines(stream, longest):
    """Each line of the head as far as it is kept; a generator without an end."""
    left = _HEAD
    while True:
        line = b""
        while line[-1:] != b"\n":
            part = stream.raw.readline(_PART)
            # With a peer at full speed nothing else would look at the clock.
            stream.wait(_POLLIN if part is None else 0)
            if part is None:
                continue
            if not part:
                raise again("the server closed early")
            left -= len(part)
            if left < 0:
                raise again("the header of the answer is longer than 64 KiB")
            if len(line) < (longest + _PART if line[:9].lower() == b"location:" else _KEPT):
                line += part
            elif part[-1] == 10:
                break
        yield line
