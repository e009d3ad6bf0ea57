"""HTTP servers in memory, behind the virtual clock and the esp32-like sockets of `broker`."""

from broker import Network, Socket

from ivota import http_request, response_check
from ivota.url import follow


def answer(status="200 OK", body=b"", **fields):
    """An answer; a field's name has `_` for `-`, and one given as None is left out."""
    fields.setdefault("Content_Length", len(body))
    lines = ["HTTP/1.1 " + status]
    for name in sorted(fields):
        if fields[name] is not None:
            lines.append("%s: %s" % (name.replace("_", "-"), fields[name]))
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Transfer:
    """A request and the head of its answer, as an update makes them.

    `url` is then where a redirect leads; without one `stream.raw` has the bytes of `push`, `skip`
    of them before `offset`.
    """

    def __init__(self, push, offset, http, etag=None, to=None):
        self.url = None
        etag = etag if offset else None
        where = to or push.url
        self.stream = http_request.send_request(where, offset, http, etag, bool(to))
        going_on = False
        try:
            location, self.skip, self.etag = response_check.read(
                self.stream, offset, push.size, etag
            )
            if location:
                self.url = follow(where, location)
            going_on = not location
        finally:
            if not going_on:
                self.close()

    def close(self):
        self.stream.close()


class _Socket(Socket):
    where = None

    def connect(self, address):
        self.where = address
        Socket.connect(self, address)

    def _take(self):
        if self.packets or not self.received.endswith(b"\r\n\r\n"):
            return False
        self.packets.append(self.received)
        self.network.requested(self, self.received)
        return True


class WebNetwork(Network):
    """`answers` are given to one request after the other, the last one to all that follow."""

    def __init__(self, *answers):
        Network.__init__(self)
        self.answers = list(answers)
        self.requests = []  # each as ((host, port), bytes)

    def getaddrinfo(self, host, port, *_args):
        return [(2, 1, 0, "", (host, port))]

    def socket(self, *_args):
        self.sockets.append(_Socket(self))
        return self.sockets[-1]

    def requested(self, sock, request):
        self.requests.append((sock.where, request))
        made = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if made is None:
            return
        sock.out += made
        sock.ended = True
