"""One HTTP Range answer on `requests`: checked before its first byte is used."""

import time
from sys import modules

from micropython import const

from ivota import OtaError, again, describe, net, once

_shared = "requests" in modules  # with the application
import requests  # noqa: E402

if not _shared:
    del modules["requests"]  # it leaves the heap with this module

_MISMATCH = const(-4)
_FAILED = const(-5)
_REDIRECTS = const(5)
# Texts of up to ten characters would become names, which stay in the heap; bytes do not.
_PLAIN = b"identity"
_DATE = b"date"
_HEADERS = const(64)  # lines; an answer with more is not a file server's


def step(job):
    """The phase in which a connection is made: ask once for what is missing, when that is due."""
    target = job.target
    if target.position == target.size:
        job.phase = "finish"
        return True
    if job.retry.left_ms() or not net.online():
        return False
    config = job.client.config
    link = job.client.link
    # Where two TLS sessions do not fit: the broker's ends, and `job.hang_up` lets it come back.
    if (
        config["one_tls_session"]
        and config["mqtt"]["tls"]
        and job.push.url.encode()[:5].lower() == b"https"
    ):
        if not link.paused:
            link.close(True)
        link.paused = True
    etag = None if job.restarted else target.etag
    transfer = Transfer(job.push, target.position, config["http"], etag, job.url)
    if transfer.url:
        job.url = transfer.url
        job.hops += 1
        if job.hops > _REDIRECTS:
            raise again("too many redirects")
        return True
    job.stream = transfer.stream
    job.etag = transfer.etag
    job.skip = transfer.skip
    job.deadline_ms = int(config["http"]["deadline_s"] * 1000)
    job.durable_at = time.ticks_ms()
    job.phase = target.phase
    return True


class Transfer:
    """The bytes of `push` from `offset` on; at `url`, where a redirect has led there.

    When its attribute `url` is set, it was a redirect to there, and nothing more. Else
    `stream.raw.readinto(buffer, n)` gives what is there, None for nothing yet, 0 at the end of
    the stream; `skip` bytes of it come before the offset. Raises `OtaError`; `again` in it says
    that another try may work, with the code of a mismatch only one from the first byte. `etag`
    is what an earlier answer for the same firmware carried.
    """

    def __init__(self, push, offset, http, etag=None, url=None):
        self.skip = 0
        self.etag = etag if offset else None
        self.stream = None
        self.url = None
        where = url or push.url
        try:
            location = self._request(where, offset, push.size, http)
            if location is not None:
                self.url = once("answers").follow(split_url(where), location)
        # requests raises whatever its parsing of a hostile answer ends in.
        except Exception as error:
            self.close()
            if not isinstance(error, OtaError):
                error = again(describe(error))
            elif error.code == _FAILED and url:
                error.again = True  # it was a redirect's URL, a captive portal's perhaps
            raise error

    def close(self):
        """Close the connection; more than once is fine."""
        if self.stream:
            self.stream.close()

    def _request(self, url, offset, size, http):
        """Ask once; the place that a redirect names, or None for the bytes."""
        secure, host, port, path = split_url(url)
        if secure and not http["ca"]:
            raise OtaError(_FAILED, "https needs http.ca")
        # What is looked at, and what it is where the server does not say it.
        plain = _PLAIN.decode()
        self._fields = {
            "content-length": size,
            "content-range": "",
            "content-type": "",
            "content-encoding": plain,
            "transfer-encoding": plain,
            "etag": "",
            "retry-after": "",
            _DATE.decode(): "",
        }
        self._lines = 0
        headers = {b"Range".decode(): (b"bytes=%d-" % offset).decode()}
        # Where TLS is due it is there already: requests speaks plainly into it.
        place = "http://%s:%d" % (host, port)
        if port != (443 if secure else 80):
            headers["Host"] = place[7:]  # requests leaves the port out
        if self.etag:
            headers[b"If-Range".decode()] = self.etag
        self.stream = stream = net.Stream(
            host, port, http["timeout_s"], http["ca"] if secure else None
        )
        stream.begin()
        try:
            answer = net.lend(
                stream,
                requests,
                requests.request,
                "GET",
                place + path,
                headers=headers,
                stream=True,
                parse_headers=self._header,
            )
        # Also urequests 0.9.1, which shows a Location to nobody and follows by itself or fails to.
        except Exception:
            location = _location(stream)
            if location is None:
                raise
            stream.close()
            return location
        self._check(answer.status_code, offset, size)
        return None

    def _header(self, line, _collected):
        self._lines += 1
        if self._lines > _HEADERS:
            raise again("too many header lines")
        if _location(self.stream) is not None:
            raise OSError  # so that `requests` closes and does not follow by itself
        name, _, value = line.decode().partition(":")
        name = name.lower()
        if name in self._fields:
            self._fields[name] = value.strip()

    def _check(self, status, offset, size):
        """Raise unless what follows are the bytes from `offset` on, or all of them."""
        fields = self._fields
        if status not in (200, 206):
            raise once("answers").refusal(status, offset, fields)
        plain = _PLAIN.decode()
        if fields["transfer-encoding"] != plain or fields["content-encoding"] != plain:
            raise again("an encoded answer")
        total = fields["content-length"]
        if status == 206:
            found = fields["content-range"]
            if not found.encode().startswith(b"bytes %d-" % offset):
                raise again("206 of '%s', asked for %d-" % (found[:40], offset))
            total = found.split("/")[-1]
        else:
            if fields["content-type"].encode()[:9] == b"text/html":
                raise again("a web page instead of the firmware")
            self.skip = offset
        etag = fields["etag"]
        if self.etag and etag and etag != self.etag:
            raise OtaError(_MISMATCH, "the file on the server has changed", True)
        if int(total) != size:
            raise OtaError(_MISMATCH, "the server has %s bytes, announced are %d" % (total, size))
        # A weak validator does not promise the same bytes (RFC 9110, 13.1.5).
        self.etag = etag if etag.encode()[:1] == b'"' and len(etag) <= 80 else None


def _location(stream):
    """Where an answer redirects to, if its line last read says so."""
    line = stream.line
    if line[:9].lower() == b"location:" and stream.first_line.split(b" ")[1][:1] == b"3":
        return line[9:].decode().strip()
    return None


def split_url(url):
    """(whether TLS, host, port, path with query) of an http or https URL.

    Raises `OtaError` for any other, with credentials, without a host, or with a character that
    would end the request line.
    """
    url = url.encode()  # each short text here would stay in the heap, and each character too
    scheme, _, rest = url.partition(b"://")
    scheme = scheme.lower()
    secure = scheme == b"https"
    place = rest
    for mark in (b"/", b"?", b"#"):
        place = place.partition(mark)[0]
    host, _, port = place.partition(b":")
    if (
        not (secure or scheme == b"http")
        or min(url) <= 32
        or max(url) > 126
        or not host
        or b"@" in host
        or port
        and not (port.isdigit() and 0 < int(port) < 65536)
    ):
        raise OtaError(_FAILED, "the URL is not a plain http or https one")
    path = rest[len(place) :].partition(b"#")[0].decode()
    if path[:1] != "/":
        path = "/" + path
    return secure, host.decode(), int(port) if port else (443 if secure else 80), path
