"""Send HTTP requests with the library `requests`: the phase that requests missing bytes."""

from micropython import const

from ivota import OtaError, __version__, again, describe, guarded_socket, once, own_copy

requests = own_copy("requests")

_FAILED = const(-5)


def step(job):
    """Request the missing bytes if the wait is over and the board is on a network."""
    target = job.target
    if target.position == target.size:
        job.enter("verification")
        return True
    if job.retry.left_ms() or not guarded_socket.hooks.online():
        return False
    config = job.client.config
    link = job.client.link
    # If two TLS sessions do not fit, the broker's ends, and `job.hang_up` lets it return.
    if (
        config["one_tls_session"]
        and config["mqtt"]["tls"]
        and job.push.url.encode()[:5].lower() == b"https"
    ):
        if not link.paused:
            link.close(True)
        link.paused = True
    job.asked = target.etag if target.position and not job.restarted else None
    url = job.location or job.push.url
    job.response = send_request(
        url, target.position, config["http"], job.asked, bool(job.location), job.push
    )
    job.enter("response_check")
    return True


def send_request(url, offset, http, etag=None, redirected=False, push=None):
    """Request the bytes from `offset` on; return the `guarded_socket.Stream` with the response.

    With `etag`, the server sends only these bytes if the file still has this ETag, otherwise all
    of it. The Authorization header is the push's or the configuration's for this server. Raises
    `OtaError`; with `again` after a redirect, which may have come from a captive portal.
    """
    headers = {"Range": "bytes=%d-" % offset}
    if etag:
        headers["If-Range"] = etag
    try:
        return open_request("GET", url, http, headers, push)
    except OtaError as error:
        if redirected and not error.again:
            error.again = True
        raise


def open_request(method, url, http, headers, push=None, data=None):
    """Send a request with these `headers`; return the `guarded_socket.Stream` with the response.

    `data`, bytes, is the body. The Authorization header comes from `push`, or for this server from
    `http`, the section of the configuration. Raises `OtaError`.
    """
    stream = None
    try:
        secure, host, port, path = once("url").split_url(url)
        if secure and not http["ca"]:
            raise OtaError(_FAILED, "https needs http.ca")
        # Without these headers, a server may compress the file or refuse the request.
        headers["Accept-Encoding"] = "identity"
        headers["User-Agent"] = "ivota/" + __version__
        # TLS is already in place if needed: requests speaks unencrypted into it.
        place = "http://%s:%d" % (host, port)
        if port != (443 if secure else 80):
            headers["Host"] = place[7:]  # requests leaves the port out
        if http["authorization"] or push and push.authorization:
            value = once("authorization_header").header(
                push, http["authorization"], secure, host, port
            )
            if value:
                headers["Authorization"] = value
        ca = http["ca"] if secure else None
        stream = guarded_socket.Stream(host, port, http["timeout_s"], ca, own=http)
        stream.begin()
        guarded_socket.lend(
            _Request(stream),
            requests,
            requests.request,
            method,
            place + path,
            data=data,
            headers=headers,
        )
        return stream
    except Exception as error:
        if stream:
            stream.close()
        if not isinstance(error, OtaError):
            error = again(describe(error))
        raise error


class _Request(guarded_socket.Stream):
    """The socket for any version of `requests`: every response seems empty.

    So the library only writes the request, and the response is read without it.
    """

    def __init__(self, stream):
        self.used = False
        self._stream = stream
        self._answer = b"HTTP/1.1 200 OK\r\n"

    def write(self, data, n=None):
        """Write to the stream, always as HTTP/1.1, whatever the library's version."""
        if type(data) is bytes and data[-10:] == b"HTTP/1.0\r\n":
            data = data[:-3] + b"1\r\n"
        return self._stream.write(data, n)

    def readline(self):
        """Return the status line of a response, and the empty line after its headers."""
        line, self._answer = self._answer, b"\r\n"
        return line

    def read(self, n=-1):
        """Return an empty body."""
        return b""

    def close(self):
        """Do nothing: the owner of the stream closes it."""
