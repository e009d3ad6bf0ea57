"""`socket` and `select` of a board whose network is in its own process.

Bytes go to a server object in this process. The layers above (umqtt, requests) are real, and see
the same bytes as from a real peer.
"""

import errno

_POLLIN = 1
_POLLOUT = 4
_POLLHUP = 16

servers = {}  # (host, port) → a function that returns a server for one connection
clock = None
# Whether the board's bytes reach the server only when the board waits for an answer: a power cut
# before that discards them.
late = False


class Socket:
    def __init__(self, *_args):
        self.inbox = b""  # sent by the server, not read yet
        self.body = None  # a memoryview that follows `inbox`
        self.ended = False  # whether the server has closed
        self._server = None
        self._sent = []  # in transit

    def setblocking(self, _flag):
        pass

    def connect(self, address):
        server = servers.get(address)
        if server is None:
            raise OSError(errno.ECONNREFUSED)
        self._server = server(self)

    def ready(self, mask):
        self._arrive()
        if mask & _POLLIN and (self.inbox or self.body or self.ended):
            return _POLLIN
        return _POLLOUT & mask

    def write(self, data):
        if self._server is None or self.ended:
            raise OSError(errno.ECONNRESET)
        self._sent.append(data.encode() if isinstance(data, str) else bytes(data))
        if not late:
            self._arrive()
        return len(data)

    def _arrive(self):
        sent, self._sent = self._sent, []
        for data in sent:
            self._server.take(data)

    def _take(self, n):
        data = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return data

    def read(self, n):
        self._arrive()
        if self.inbox:
            return self._take(n)
        return b"" if self.ended else None

    def readline(self, n):
        self._arrive()
        if not self.inbox:
            return b"" if self.ended else None
        end = self.inbox.find(b"\n") + 1
        return self._take(min(n, end) if end else n)

    def readinto(self, buffer, n=None):
        if n is None:
            n = len(buffer)
        if self.inbox:
            data = self._take(n)
            buffer[: len(data)] = data
            return len(data)
        if self.body:
            n = min(n, len(self.body))
            memoryview(buffer)[:n] = self.body[:n]
            self.body = self.body[n:]
            self._server.sent(n)
            return n
        return 0 if self.ended else None

    def close(self):
        self._server = None


class Network:
    """The module `socket`."""

    AF_INET = 2
    SOCK_STREAM = 1
    socket = Socket

    @staticmethod
    def getaddrinfo(host, port, *_args):
        if not any(known == host for known, _ in servers):
            raise OSError(-2)
        return [(2, 1, 0, "", (host, port))]


class Poll:
    def __init__(self):
        self._known = []  # [socket, mask]

    def register(self, sock, mask):
        self._known.append([sock, mask])

    def modify(self, sock, mask):
        for entry in self._known:
            if entry[0] is sock:
                entry[1] = mask

    def unregister(self, sock):
        self._known = [entry for entry in self._known if entry[0] is not sock]

    def ipoll(self, timeout=-1):
        found = [(sock, sock.ready(mask)) for sock, mask in self._known]
        found = [entry for entry in found if entry[1]]
        if not found and timeout:
            clock.sleep_ms(timeout if timeout > 0 else 1000)
        return found


class Select:
    """The module `select`."""

    POLLIN = _POLLIN
    POLLOUT = _POLLOUT
    POLLHUP = _POLLHUP
    poll = Poll
