"""One HTTP Range answer on `requests`: checked before its first byte is used."""

import requests

from ivota import net
from ivota.errors import (
    EXPIRED,
    FAILED,
    MISMATCH,
    NOT_FOUND,
    TIMED_OUT,
    Afresh,
    OtaError,
    describe,
)

_REDIRECTS = 5
_HEADERS = 64  # lines; an answer with more is not a file server's


class _Redirect(OSError):
    """Raised out of the header parser, so that `requests` closes and does not follow by itself."""


class Transfer:
    """The bytes of `push` from `offset` on.

    `raw.readinto(buffer, n)` gives what is there, None for nothing yet, 0 at the end of the
    stream; `skip` bytes of it come before the offset. Raises `OtaError`; `again` in it says that
    another try may work. `etag` is what an earlier answer for the same firmware carried.
    """

    def __init__(self, push, offset, http, etag=None):
        self.skip = 0
        self.etag = etag
        self._stream = None
        url = push.url
        try:
            for _ in range(_REDIRECTS + 1):
                location = self._request(url, offset, http)
                if location is None:
                    break
                url = _follow(url, location)
            else:
                raise OtaError(TIMED_OUT, "more than 5 redirects", True)
            self._check(offset, push.size)
        except OtaError:
            self.close()
            raise
        # requests raises whatever its parsing of a hostile answer ends in.
        except Exception as error:
            self.close()
            raise OtaError(TIMED_OUT, describe(error), True)

    def close(self):
        """Close the connection; more than once is fine."""
        if self._stream is not None:
            self._stream.close()

    def _request(self, url, offset, http):
        """Ask once; the place that a redirect names, or None for any other answer."""
        secure, host, port, path = split_url(url)
        if secure and not http["ca"]:
            raise OtaError(FAILED, "https needs http.ca in the configuration")
        self._fields = {}
        self._lines = 0
        headers = {"Range": "bytes=%d-" % offset}
        if port != (443 if secure else 80):
            headers["Host"] = "%s:%d" % (host, port)  # requests leaves the port out
        if self.etag and offset:
            headers["If-Range"] = self.etag
        self._stream = stream = net.Stream(
            host, port, http["timeout_s"], http["ca"] if secure else None
        )
        stream.begin()
        try:
            answer = net.lend(
                stream,
                requests,
                requests.request,
                # Where TLS is due it is there already: requests speaks plainly into it.
                "GET",
                "http://%s:%d%s" % (host, port, path),
                headers=headers,
                stream=True,
                parse_headers=self._header,
            )
        # urequests 0.9.1 shows a Location to nobody and follows by itself, or fails to.
        except Exception:
            location = _location(stream)
            if not location:
                raise
            stream.close()
            return location
        self.raw = stream.raw
        self._status = answer.status_code
        return None

    def _header(self, line, _collected):
        self._lines += 1
        if self._lines > _HEADERS:
            raise OSError("more than 64 header lines")
        if _location(self._stream):
            raise _Redirect
        name, _, value = line.decode().partition(":")
        name = name.lower()
        value = value.strip()
        if name in (
            "content-length",
            "content-range",
            "content-type",
            "content-encoding",
            "transfer-encoding",
            "etag",
            "retry-after",
        ):
            self._fields[name] = value

    def _check(self, offset, size):
        """Raise unless what follows are the bytes from `offset` on, or all of them."""
        status = self._status
        if status not in (200, 206):
            raise self._refusal(status)
        field = self._fields.get
        if field("transfer-encoding") or field("content-encoding", "identity") != "identity":
            raise OtaError(TIMED_OUT, "the server encodes its answer", True)
        length = field("content-length")
        if status == 206:
            start, total = _content_range(field("content-range", ""))
            if start != offset:
                raise OtaError(TIMED_OUT, "206 from %s instead of %d" % (start, offset), True)
        else:
            if field("content-type", "").startswith("text/html"):
                raise OtaError(TIMED_OUT, "a web page instead of the firmware", True)
            total = int(length) if length else size
            self.skip = offset
        etag = field("etag")
        if self.etag and offset and etag and etag != self.etag:
            raise Afresh(MISMATCH, "the file on the server has changed")
        if total != size:
            raise OtaError(MISMATCH, "the server has %d bytes, announced are %d" % (total, size))
        if status == 206 and length and int(length) != size - offset:
            raise OtaError(TIMED_OUT, "Content-Length and Content-Range disagree", True)
        # A weak validator does not promise the same bytes (RFC 9110, 13.1.5).
        self.etag = etag if etag and etag[:1] == '"' and len(etag) <= 80 else None

    def _refusal(self, status):
        if status in (404, 410):
            return OtaError(NOT_FOUND, "HTTP %d" % status)
        if status in (401, 403):
            return OtaError(EXPIRED, "HTTP %d" % status)
        if status == 416:
            return Afresh(MISMATCH, "HTTP 416")
        after = self._fields.get("retry-after", "")
        return OtaError(TIMED_OUT, "HTTP %d" % status, True, int(after) if after.isdigit() else 0)


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
    secure = url[:8].lower() == "https://"
    start = 8 if secure else 7
    if not secure and url[:7].lower() != "http://":
        raise OtaError(FAILED, "push: the URL is neither http nor https")
    for char in url:
        if not "!" <= char <= "~":
            raise OtaError(FAILED, "push: the URL has a character that must be escaped")
    end = len(url)
    for mark in "/?#":
        at = url.find(mark, start)
        if 0 <= at < end:
            end = at
    host, _, port = url[start:end].partition(":")
    path = url[end:].split("#")[0]
    if path[:1] != "/":
        path = "/" + path
    if not host or "@" in host or port and not (port.isdigit() and 0 < int(port) < 65536):
        raise OtaError(FAILED, "push: the URL has no usable host and port")
    return secure, host, int(port) if port else (443 if secure else 80), path


def _follow(url, location):
    """The absolute URL of a redirect; never from https to http."""
    secure, host, port, path = split_url(url)
    scheme = "https:" if secure else "http:"
    if location[:2] == "//":
        location = scheme + location
    elif ":" not in location.split("?")[0].split("/")[0]:
        if location[:1] != "/":
            location = path.split("?")[0].rpartition("/")[0] + "/" + location
        location = "%s//%s:%d%s" % (scheme, host, port, location)
    if secure and location[:8].lower() != "https://":
        raise OtaError(FAILED, "the server redirects from https to http")
    return location


def _content_range(value):
    """(first, total) of `bytes first-last/total`; (None, 0) for anything else."""
    try:
        unit, _, rest = value.partition(" ")
        span, _, total = rest.partition("/")
        first, _, _last = span.partition("-")
        return (int(first), int(total)) if unit == "bytes" else (None, 0)
    except ValueError:
        return None, 0
