"""The one guarded socket that `umqtt.simple` and `requests` get in place of their own.

Both libraries wait without a limit somewhere. Here every wait has a deadline, and TLS is verified
before either library sees the connection: they speak plainly into it.
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

lookups = 0  # name resolutions so far: no port can bound one, so each is done once and counted


def feed():
    """Called about twice a second in every wait; a watchdog's `feed` takes its place."""


def online():
    """Whether the board is on a network; what keeps a radio connected takes its place."""
    return True


always = online  # what takes its place is gone again where no network is configured
ntp_host = None  # None for the one that `ntptime` knows, "" for none


def wait(stream, ms):
    """Wait `ms` milliseconds, or until `stream` can be read; with None just wait.

    On esp32 `time.sleep_ms` spins for what is shorter than 10 ms and holds up every other thread
    meanwhile, which a poll does not.
    """
    for _ in (stream.poll if stream else select.poll()).ipoll(ms):
        return


class WriteOnly(Exception):
    """A read was tried on a stream that is only to be written now."""


class Stream:
    """A connection to `host`:`port`, with `ca` (a path) over TLS verified against it.

    `own`: the part of the configuration that may name a certificate for a server that asks.

    `read` and `write` wait until `limit` milliseconds after the last `begin()`; then they raise
    OSError(ETIMEDOUT). `raw` is the port's own non-blocking socket, for `readinto`, `poll` what
    waits for it. For a library it is the module `socket` and the socket in one.
    """

    SOCK_STREAM = 1
    AF_INET = 2

    def __init__(self, host, port, timeout_s, ca=None, most=4096, own=None):
        global lookups
        self.most = most  # bytes of one read; more is taken off the wire in pieces and dropped
        self.used = False  # whether a library took this stream in place of its own socket
        self.heard = False  # whether anything came since the flag was cleared
        self.patient = True  # what a library last said with setblocking()
        self.write_only = False
        self.skipped = 0  # bytes of the last read that was too long
        self.limit = int(timeout_s * 1000)
        self.poll = poll = select.poll()
        lookups += 1
        try:
            info = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
        except OSError:
            raise OSError("no network, or no such name: " + host)
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
        """Raise why there is no connection: the socket knows, but lwIP calls a refusal a reset."""
        try:
            self.raw.read(1)
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.ENOTCONN):
                raise
        raise OSError(errno.ECONNREFUSED)

    def begin(self):
        """Start a deadline: what follows has `limit` milliseconds in all."""
        self._begun = time.ticks_ms()

    def wait(self, mask=0):
        """Wait for an event of `mask` and return what came; with no mask only look at the clock.

        Raises OSError(ETIMEDOUT) after the deadline.
        """
        if mask:
            self.poll.modify(self.raw, mask)
        while True:
            feed()
            left = self.limit - time.ticks_diff(time.ticks_ms(), self._begun)
            if left <= 0:
                raise OSError(errno.ETIMEDOUT)
            if not mask:
                return 0
            for _, event in self.poll.ipoll(min(left, _SLICE_MS)):
                return event

    def ready(self):
        """Whether a read would find something; allocates nothing."""
        for _ in self.poll.ipoll(0):
            return True
        return False

    def read(self, n):
        """`n` bytes; fewer at the end of the stream; b"" when more than `most` were skipped."""
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
                # A peer at full speed would never let this wait, nor end.
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

    def setblocking(self, flag):
        """Only remembered: a socket that really blocks could hang the board."""
        self.patient = flag

    def connect(self, _value):
        """Nothing left to do, and no timeout but ours; the library believes that it connects."""

    settimeout = connect

    def close(self):
        """Close the socket; more than once is fine."""
        try:
            self.raw.close()
        except OSError:  # esp32's, when an earlier call on this socket has failed
            pass

    def getaddrinfo(self, *_args):
        """As the module `socket` has it: any address, for it is connected already."""
        return ((2, 1, 0, "", None),)

    def socket(self, *_args):
        """As the module `socket` has it: this stream, for one connection."""
        if self.used:
            raise OSError("the library opens a second connection")
        self.used = True
        return self


def lend(guard, library, function, *args, **kwargs):
    """Call `function` while `library` has `guard`, a `Stream`, for its next socket.

    Raises OSError when the library made a connection of its own: that one has no deadline.
    """
    name = "socket" if hasattr(library, "socket") else "usocket"
    own = getattr(library, name)
    setattr(library, name, guard)
    try:
        result = function(*args, **kwargs)
    finally:
        setattr(library, name, own)
    if not guard.used:
        raise OSError("the library opened a connection of its own")
    return result
