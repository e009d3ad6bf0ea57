"""Sockets in memory, under a virtual clock, with the habits of a port.

On esp32 (as on esp8266 and rp2) `setblocking(True)` removes a timeout for ever. On unix the
timeout stays: code that hangs on a board passes there. A wait that nothing can end raises `Hang`,
which no library catches. Other habits of esp32 (ports/esp32/modsocket.c, and lwIP below it):

- a timeout is waited for in slices of 0.1 s, one more than fit into it; one below 0.1 s waits once
  and reports EWOULDBLOCK, as a socket does that may not wait
- a refused connection is a reset; a poll reports it (POLLHUP) only if it was asked for that
- closing fails after a call that failed
- errors have newlib's numbers: `network.errno` is the port's module; on CPython alone, for
  MicroPython compiles the numbers of its own port into what it reads as source

    network = Network([b"HTTP/1.0 200 OK\\r\\n\\r\\n", 500, b"late", CLOSED], port="esp32")
    library.socket = network

A script is what the peer sends: bytes, or a number of milliseconds before what follows comes, or
an OSError that a receive raises, or CLOSED. Behind its last item nothing comes. A script that is
an OSError is why there is no connection: `connect` raises it, or on a socket that does not block,
the next call.
"""

import errno

from doubles import esp32_errno as newlib
from support import WHERE, Clock

esp32_errno = newlib if WHERE == "cpython" else errno

CLOSED = "closed"
POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
_SLICE_MS = 100


class Hang(BaseException):
    """The call would never return."""


# ports/esp32/modsocket.c: socket_connect; _socket_settimeout, for settimeout and setblocking;
# _socket_read_data, for each receive; _socket_send and socket_stream_write; socket_stream_ioctl,
# for close and for what a poll sees. read, readline and readinto are py/stream.c's
# stream_read_generic and stream_unbuffered_readline, which know nothing of a timeout.
class FakeSocket:
    def __init__(self, script, port, clock):
        self._script = script
        self._esp32 = port == "esp32"
        self._errno = esp32_errno if self._esp32 else errno
        self._clock = clock
        self._failed = False  # whether a call has failed
        self._refused = None  # why there is no connection
        self._queue = None  # [time in ms at which it is there, bytes or CLOSED or OSError]
        self._timeout_ms = None  # None: for ever
        self._blocking = True
        self.address = None
        self.sent = b""
        self.timeouts = []  # each value that settimeout was called with
        self.closed = False
        self.reads = []  # each size that was asked for

    # What a test may do.

    def push(self, *items):
        """Add to the script."""
        at = self._clock.now_ms()
        if self._queue:
            at = max(at, self._queue[-1][0])
        for item in items:
            if isinstance(item, int):
                at += item
            else:
                self._queue.append([at, item])

    def waits_for_ever(self):
        return self._blocking and self._timeout_ms is None

    # What a library calls.

    def connect(self, address):
        self._usable()
        self.address = address
        if isinstance(self._script, OSError):
            error = self._script
            if self._esp32 and error.errno == errno.ECONNREFUSED:
                error = OSError(errno.ECONNRESET)
            # That there is no way to a host is known at once.
            if self._blocking or error.errno == errno.EHOSTUNREACH:
                self._fail(error)
            self._refused = error
            self._queue = [[self._clock.now_ms(), error]]
        else:
            self._queue = []
            self.push(*self._script)
        if not self._blocking:
            raise OSError(self._errno.EINPROGRESS)

    def _fail(self, error):
        """Raise an error of this interpreter with the number that the port has for it."""
        self._failed = True
        name = errno.errorcode.get(error.errno)
        raise OSError(getattr(self._errno, name)) if hasattr(self._errno, name or "") else error

    # _socket_settimeout looks at no result of lwIP's.
    def settimeout(self, seconds):
        if not self._esp32:
            self._usable()
        self.timeouts.append(seconds)
        self._blocking = seconds is None or seconds > 0
        self._timeout_ms = None if seconds is None or not self._blocking else int(seconds * 1000)

    def setblocking(self, flag):
        if not self._esp32:
            self._usable()
        self._blocking = bool(flag)
        if flag and self._esp32:
            self._timeout_ms = None

    def setsockopt(self, *_):
        self._usable()

    def close(self):
        self.closed = True
        if self._failed and self._esp32:
            raise OSError(self._errno.ENOTCONN)

    def _usable(self):
        if self.closed:
            raise OSError(self._errno.EBADF)

    def _next_ms(self):
        """Milliseconds until something comes; None if nothing ever will."""
        if not self._queue:
            return None
        return max(0, self._queue[0][0] - self._clock.now_ms())

    def _receive(self, n, to_line_end=False):
        """One receive of the port's: a byte or more, b"" at the end, None when it may not wait."""
        self._usable()
        if self._queue is None:
            self._fail(OSError(errno.ENOTCONN))
        wait = self._next_ms()
        if wait is None or wait:
            if not self._blocking:
                return None
            if self._timeout_ms is None:
                if wait is None:
                    raise Hang("a receive without a timeout, and nothing comes")
            most = self._timeout_ms
            if self._esp32 and most is not None:
                most = (most // _SLICE_MS + 1) * _SLICE_MS
            if most is not None and (wait is None or wait > most):
                self._clock.advance_ms(most)
                if self._timeout_ms < _SLICE_MS and self._esp32:
                    return None
                raise OSError(self._errno.ETIMEDOUT)
            self._clock.advance_ms(wait)
        item = self._queue[0][1]
        if item is CLOSED:
            return b""
        if isinstance(item, OSError):
            self._fail(item)
        if to_line_end:
            n = min(n, item.find(b"\n") + 1 or n)
        data = item[:n]
        if len(item) > n:
            self._queue[0][1] = item[n:]
        else:
            self._queue.pop(0)
        return data

    def _collect(self, n, to_line_end):
        self.reads.append(n)
        out = b""
        while n < 0 or len(out) < n:
            data = self._receive(4096 if n < 0 else n - len(out), to_line_end)
            if data is None:
                return out or None
            out += data
            if not data or to_line_end and data[-1:] == b"\n":
                break
        return out

    def read(self, n=-1):
        return self._collect(n, False)

    def readline(self, n=-1):
        return self._collect(n, True)

    def readinto(self, buffer, n=None):
        data = self._collect(len(buffer) if n is None else min(n, len(buffer)), False)
        if data is None:
            return None
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def recv(self, n):
        data = self._receive(n)
        if data is None:
            raise OSError(self._errno.EAGAIN)
        return data

    def write(self, data, n=None):
        self._usable()
        if self._queue is None:
            self._fail(OSError(errno.ENOTCONN))
        if self._refused:
            self._fail(self._refused)
        if isinstance(data, str):
            data = data.encode()
        data = bytes(data) if n is None else bytes(data)[:n]
        self.sent += data
        return len(data)

    send = write

    def events(self, mask):
        """What a poll with this mask would see now."""
        if self.closed:
            return 32
        if self._queue is None:  # nothing has been asked of it
            return mask & POLLOUT | POLLHUP
        events = POLLOUT
        if self._queue and not self._next_ms():
            events |= POLLIN
            if isinstance(self._queue[0][1], OSError):
                events |= POLLHUP if self._esp32 else POLLERR | POLLHUP
        return events & (mask if self._esp32 else mask | POLLERR | POLLHUP)


# extmod/modselect.c: poll_register, poll_modify, poll_unregister; poll_set_poll_once asks each
# object on esp32, where no socket is a file descriptor of the system's.
class FakePoll:
    def __init__(self, clock):
        self._clock = clock
        self._masks = []  # [socket, mask]

    def register(self, sock, mask=POLLIN | POLLOUT):
        for entry in self._masks:
            if entry[0] is sock:
                entry[1] = mask
                return
        self._masks.append([sock, mask])

    def modify(self, sock, mask):
        if not any(entry[0] is sock for entry in self._masks):
            raise OSError(errno.ENOENT)
        self.register(sock, mask)

    def unregister(self, sock):
        self._masks = [entry for entry in self._masks if entry[0] is not sock]

    def _ready(self):
        return [(s, s.events(mask)) for s, mask in self._masks if s.events(mask)]

    def poll(self, timeout=-1):
        found = self._ready()
        if found or timeout == 0:
            return found
        waits = [s._next_ms() for s, mask in self._masks if mask & POLLIN]
        waits = [ms for ms in waits if ms is not None]
        if timeout > 0:
            waits.append(timeout)
        if not waits:
            raise Hang("a poll without a timeout, and nothing comes")
        self._clock.advance_ms(min(waits))
        return self._ready()

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))


class Network:
    """Takes the place of `socket` in a library, and of `select` and `time` in what uses those.

    ports/esp32/modsocket.c, socket_make_new and esp_socket_getaddrinfo.
    """

    AF_INET, SOCK_STREAM = 2, 1
    POLLIN, POLLOUT = POLLIN, POLLOUT

    def __init__(self, *scripts, port="unix", clock=None):
        self.clock = clock or Clock()
        self._scripts = list(scripts)
        self._port = port
        self.errno = esp32_errno if port == "esp32" else errno
        self.lookups = []
        self.sockets = []

    def getaddrinfo(self, host, port, *_):
        self.lookups.append((host, port))
        return [(2, 1, 6, "", (host, port))]

    def socket(self, *_):
        script = self._scripts.pop(0) if self._scripts else []
        self.sockets.append(FakeSocket(script, self._port, self.clock))
        return self.sockets[-1]

    def poll(self):
        return FakePoll(self.clock)

    def sent(self):
        """All that was sent on the newest socket."""
        return self.sockets[-1].sent
