"""The phase in which `requests` asks for the bytes that are missing."""

from sys import modules

from micropython import const

from ivota import OtaError, __version__, again, describe, guarded_socket, once

_shared = "requests" in modules  # with the application
import requests  # noqa: E402

if not _shared:
    del modules["requests"]  # it leaves the heap with this module

_FAILED = const(-5)


def step(job):
    """Connect when that is due, and ask once for what is missing."""
    target = job.target
    if target.position == target.size:
        job.phase = "handover"
        return True
    if job.retry.left_ms() or not guarded_socket.online():
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
    job.etag = target.etag if target.position and not job.restarted else None
    url = job.url or job.push.url
    job.stream = send_request(
        url, target.position, config["http"], job.etag, bool(job.url), job.push
    )
    job.phase = "http_response"
    return True


def send_request(url, offset, http, etag=None, redirected=False, push=None):
    """Ask for the bytes from `offset` on; the `guarded_socket.Stream` on which the answer comes.

    With `etag`, only if that is still the name of the file, else for all of it; with what `push`
    or the configuration has as Authorization for this server. Raises `OtaError`; with `again` in
    it where a redirect has led here, for that may have been a captive portal's.
    """
    stream = None
    try:
        secure, host, port, path = once("url").split_url(url)
        if secure and not http["ca"]:
            raise OtaError(_FAILED, "https needs http.ca")
        # Without the last two a server may compress the file, or refuse to serve it.
        headers = {
            "Range": "bytes=%d-" % offset,
            "Accept-Encoding": "identity",
            "User-Agent": "ivota/" + __version__,
        }
        # Where TLS is due it is there already: requests speaks plainly into it.
        place = "http://%s:%d" % (host, port)
        if port != (443 if secure else 80):
            headers["Host"] = place[7:]  # requests leaves the port out
        if etag:
            headers["If-Range"] = etag
        if http["authorization"] or push and push.authorization:
            value = once("authorize").header(push, http["authorization"], secure, host, port)
            if value:
                headers["Authorization"] = value
        ca = http["ca"] if secure else None
        stream = guarded_socket.Stream(host, port, http["timeout_s"], ca, own=http)
        stream.begin()
        guarded_socket.lend(
            _Request(stream), requests, requests.request, "GET", place + path, headers=headers
        )
        return stream
    except Exception as error:
        if stream:
            stream.close()
        if not isinstance(error, OtaError):
            error = again(describe(error))
        elif redirected:
            error.again = True
        raise error


class _Request(guarded_socket.Stream):
    """The socket that `requests` gets, in whatever version: for it the answer is always empty.

    So the library only writes the request. What comes back is read without it.
    """

    def __init__(self, stream):
        self.used = False
        self._stream = stream
        self._answer = b"HTTP/1.1 200 OK\r\n"

    def write(self, data, n=None):
        """Write to the stream; which version of HTTP is spoken does not depend on the library."""
        if type(data) is bytes and data[-10:] == b"HTTP/1.0\r\n":
            data = data[:-3] + b"1\r\n"
        return self._stream.write(data, n)

    def readline(self):
        """The status line of an answer, and the empty line that ends its head."""
        line, self._answer = self._answer, b"\r\n"
        return line

    def read(self, n=-1):
        """The body: there is none."""
        return b""

    def close(self):
        """The stream is closed by its owner."""
