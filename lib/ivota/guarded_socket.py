"""Provide the guarded socket that `umqtt.simple` and `requests` use instead of their own.

Both libraries can wait without a limit. Here every wait has a deadline. With TLS, a library still
sees a plain connection: its first write runs the handshake, which verifies the server before any
data of the library is sent.
"""

import errno
import select
import socket
import time

from micropython import const

from ivota import once

_POLLIN = const(1)
_POLLOUT = const(4)
_POLLHUP = const(16)  # esp32 reports a refused connection only to a poll that asks for it
_SLICE_MS = const(500)  # between two calls of `feed` in a long wait

lookups = 0  # number of name resolutions, which no port can limit in time


def always():
    """Return True, for a board whose network is connected elsewhere."""
    return True


class Hooks:
    """The parts of the board that every connection uses: watchdog, network and time server."""

    def __init__(self):
        self.feed = lambda: None  # called about twice a second during every wait
        self.online = always  # returns whether the board is on a network; may connect it
        self.ntp_host = None  # None for the default of `ntptime`, "" for none


hooks = Hooks()  # of this board, for all of its connections


def wait(stream, ms):
    """Wait for `ms` milliseconds, or until `stream` (if not None) can be read.

    On esp32, `time.sleep_ms` below 10 ms is a busy loop that blocks every other thread; a poll is
    not.
    """
    for _ in (stream.poll if stream else select.poll()).ipoll(ms):
        return


class WriteOnly(Exception):
    """A library tried to read while the stream is write-only."""


class Stream:
    """A connection to `host`:`port`; with `ca` (a path), over TLS verified against it.

    `own`: the section of the configuration that can have a client certificate.

    `read` and `write` raise OSError(ETIMEDOUT) `limit` milliseconds after the last `begin()`.
    `raw` is the port's non-blocking socket, for `readinto`; `poll` waits for it. To a library,
    a stream is both the module `socket` and the socket.
    """

    SOCK_STREAM = 1
    AF_INET = 2

    def __init__(self, host, port, timeout_s, ca=None, most=4096, own=None):
        global lookups
        self.most = most  # bytes of one read; the rest is read in pieces and dropped
        self.used = False  # whether a library used this stream instead of its own socket
        self.heard = False  # whether data arrived since the flag was cleared
        self.patient = True  # the library's last value for setblocking()
        self.write_only = False
        self.skipped = 0  # size of the last read that was too long
        self.limit = int(timeout_s * 1000)
        self.poll = poll = select.poll()
        lookups += 1
        try:
            info = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        except OSError:
            raise OSError("no network, or unknown name: " + host)
        self.begin()
        self.raw = raw = socket.socket(info[0], socket.SOCK_STREAM, info[2])
        try:
            raw.setblocking(False)
            poll.register(raw, _POLLOUT | _POLLHUP)
            try:
                raw.connect(info[-1])
            except OSError as error:
                if error.errno != errno.EINPROGRESS:
                    raise
                if self.wait(_POLLOUT | _POLLHUP) & ~_POLLOUT:
                    self._refused()
            if ca:
                poll.unregister(raw)
                self.raw = once("tls_client").wrap(raw, host, ca, own)
                poll.register(self.raw, _POLLIN)
                self.begin()
        except BaseException:
            self.close()
            raise

    def _refused(self):
        """Raise the reason why there is no connection: the socket knows it, but lwIP reports a
        refusal as a reset.
        """
        try:
            self.raw.read(1)
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.ENOTCONN):
                raise
        raise OSError(errno.ECONNREFUSED)

    def begin(self):
        """Start a deadline: all later calls have `limit` milliseconds in total."""
        self._begun = time.ticks_ms()

    def wait(self, mask=0):
        """Wait for an event of `mask` and return it; without a mask, only check the deadline.

        Raises OSError(ETIMEDOUT) after the deadline.
        """
        if mask:
            self.poll.modify(self.raw, mask)
        while True:
            hooks.feed()
            left = self.limit - time.ticks_diff(time.ticks_ms(), self._begun)
            if left <= 0:
                raise OSError(errno.ETIMEDOUT)
            if not mask:
                return 0
            for _, event in self.poll.ipoll(min(left, _SLICE_MS)):
                return event

    def ready(self):
        """Return whether data can be read, without allocating."""
        for _ in self.poll.ipoll(0):
            return True
        return False

    def read(self, n):
        """Return `n` bytes, or fewer at the end of the stream; skip more than `most`, for b""."""
        if self.write_only:
            raise WriteOnly
        if n < 0:
            raise OSError(errno.EINVAL)
        if n > self.most:
            self.skipped = n
            while n:
                part = self.read(min(n, self.most, 128))
                if not part:
                    raise OSError(errno.ECONNRESET)
                n -= len(part)
            return b""
        data = b""
        while len(data) < n:
            part = self.raw.read(n - len(data))
            if part is None:
                if not self.patient and not data:
                    return None
                self.wait(_POLLIN)
            elif part:
                # A fast peer could otherwise keep this loop running past the deadline.
                self.wait()
                self.heard = True
                data = data + part if data else part
            else:
                break
        return data

    def write(self, data, n=None):
        """Write all of `data`, or its first `n` bytes."""
        if n is not None:
            data = data[:n]
        done = 0
        while done < len(data):
            written = self.raw.write(data[done:] if done else data)
            if written is None:
                self.wait(_POLLOUT)
            else:
                done += written
        self.poll.modify(self.raw, _POLLIN)
        return done

    def setblocking(self, value):
        """Only remember the value: a blocking socket could hang the board."""
        self.patient = value

    def connect(self, *_args):
        """Do nothing: the stream is already connected, and has its own timeout."""

    settimeout = connect

    def close(self):
        """Close the socket; can be called repeatedly."""
        try:
            self.raw.close()
        except OSError:  # esp32's, if an earlier call on this socket failed
            pass

    def getaddrinfo(self, *_args):
        """Replace socket.getaddrinfo; any address works, because the stream is connected."""
        return ((2, 1, 0, "", None),)

    def socket(self, *_args):
        """Replace socket.socket: return this stream, for one connection."""
        if self.used:
            raise OSError("umqtt or requests opened a second connection")
        self.used = True
        return self


def lend(stream, library, function, *args, **kwargs):
    """Call `function` while `library` uses `stream` as its next socket.

    Raises OSError if the library made a connection of its own, which has no deadline.
    """
    name = "socket" if hasattr(library, "socket") else "usocket"
    own = getattr(library, name)
    setattr(library, name, stream)
    try:
        result = function(*args, **kwargs)
    finally:
        setattr(library, name, own)
    if not stream.used:
        raise OSError("umqtt or requests opened its own connection")
    return result
