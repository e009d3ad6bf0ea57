"""Check the server's response before a byte of the body is used."""

import time

from micropython import const

from ivota import OtaError, again, describe, once

_MISMATCH = const(-4)
_REDIRECTS = const(5)
_POLLIN = const(1)
_PART = const(64)  # bytes that one read allocates, for lines of any length
_KEPT = const(256)  # bytes kept of a line; of a Location, as many as a URL can have
_HEAD = const(65536)  # bytes of all headers
# Texts of up to ten characters would become names, which stay in the heap; bytes do not.
_PLAIN = const(b"identity")
_CHUNKED = const(b"chunked")


def step(job):
    """Read the headers; continue with the body, or with another URL."""
    config = job.client.config
    target = job.target
    location, skip, etag = read(
        job.response,
        target.position,
        target.size,
        job.asked,
        config["mqtt"]["max_message_bytes"],
    )
    if location:
        job.response.close()
        job.response = None
        job.redirects += 1
        if job.redirects > _REDIRECTS:
            raise again("too many redirects")
        job.location = once("url").follow(job.location or job.push.url, location)
        job.enter("http_request")
        return True
    job.etag = etag
    job.skip = skip
    job.deadline_ms = int(config["http"]["deadline_s"] * 1000)
    job.last_block_at = time.ticks_ms()
    job.enter(target.receiver)
    return True


def read(stream, offset, size, etag=None, most=4096):
    """Read the headers and return (location, skip, etag). `location` is a redirect's target, at
    most `most` bytes, or None.

    Without a redirect, `stream.raw.readinto(buffer, n)` returns the body: None if no data is
    ready, 0 at the end. `skip` bytes of it come before `offset`. `etag` is the file's strong ETag,
    if any; the argument `etag` is the one that was requested. Raises `OtaError`: with `again` if a
    retry may help, with the code of a mismatch if only a full download may help.
    """
    try:
        return _read(stream, offset, size, etag, most)
    except OSError as error:
        raise again(describe(error))


def _read(stream, offset, size, asked, most):
    stream.begin()  # the request is sent, and a TLS handshake is over
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
    status = read_head(stream, fields, most)
    location = fields[b"location"]
    if location and status in (300, 301, 302, 303, 307, 308):
        return location.decode(), 0, None
    # 203 is a 200 from a proxy.
    if status not in (200, 203, 206):
        raise once("http_status").refusal(status, offset, fields)
    coding = fields[b"transfer-encoding"].lower()
    encoding = fields[b"content-encoding"].lower() or _PLAIN
    if coding not in (_PLAIN, _CHUNKED) or encoding != _PLAIN:
        raise again("the response is compressed")
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
        stream.raw = once("chunked_body").Body(stream.raw)
    # A weak validator does not promise the same bytes (RFC 9110, 13.1.5).
    strong = fields[b"etag"][:1] == b'"' and len(etag) <= 80
    return None, offset - first, etag if strong else None


def _range(value, offset):
    """Return (first byte, total) of a Content-Range that contains `offset`; total may be "*"."""
    unit, _, rest = value.lower().partition(b" ")
    span, _, total = rest.partition(b"/")
    first, _, last = span.partition(b"-")
    if (
        unit != b"bytes"
        or not (first.isdigit() and last.isdigit() and (total == b"*" or total.isdigit()))
        or not int(first) <= offset <= int(last)
    ):
        value = value.decode()[:40]
        raise again("HTTP 206 has range '%s', but %d- was requested" % (value, offset))
    return int(first), total


def read_head(stream, fields, most):
    """Read to the end of the headers and return the status.

    `fields` has the wanted names in lower case, with the values of absent ones. All other lines
    are skipped, whatever their length.
    """
    lines = _lines(stream, most)
    while True:
        words = next(lines).strip().split(b" ", 2)
        if (
            len(words) < 2
            or words[0][:5] != b"HTTP/"
            or len(words[1]) != 3
            or not words[1].isdigit()
        ):
            raise again("the response is not HTTP")
        status = int(words[1])
        _read_fields(lines, fields, most)
        # In any other response, nobody needs it.
        if status // 100 == 3 and len(fields.get(b"location", b"")) > most:
            raise again("a redirect to a URL of more than %d bytes" % most)
        # 100 to 199 announce the response that follows; 101 would be another protocol.
        if status == 101 or not 100 <= status < 200:
            return status


def _read_fields(lines, fields, most):
    absent = dict(fields)
    name = None
    for line in lines:
        text = line.strip()
        if not text:
            break
        if line[0] in b" \t":  # the previous line's value continues
            if name and len(fields[name]) <= most:
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
    for name in absent:
        value = fields[name] = fields[name].strip()
        # Only ASCII is useful here; other characters would only need more checks later.
        if value and not 32 <= min(value) <= max(value) <= 126:
            fields[name] = absent[name]


def _lines(stream, most):
    """Yield the header lines, each truncated to what is kept. The caller must stop."""
    left = _HEAD
    while True:
        line = b""
        while line[-1:] != b"\n":
            part = stream.raw.readline(_PART)
            # A fast peer could otherwise keep this loop running past the deadline.
            stream.wait(_POLLIN if part is None else 0)
            if part is None:
                continue
            if not part:
                raise again("the server closed the connection early")
            left -= len(part)
            if left < 0:
                raise again("the response header is longer than 64 KiB")
            if len(line) < (most + _PART if line[:9].lower() == b"location:" else _KEPT):
                line += part
            elif part[-1] == 10:
                break
        yield line
