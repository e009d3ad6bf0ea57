"""What device tests share, on CPython with the shim and on unix MicroPython, 64 and 32 bits."""

import binascii
import errno
import os
import select
import socket
import sys
import time

if sys.implementation.name == "cpython":
    WHERE = "cpython"
else:
    WHERE = "unix64" if sys.maxsize > 1 << 32 else "unix32"


class raises:
    """`with raises(OSError, "part of its message") as caught:`, then `caught.value`."""

    def __init__(self, kind, part=""):
        self._kind = kind
        self._part = part
        self.value = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        name = getattr(self._kind, "__name__", str(self._kind))
        assert kind is not None, "nothing was raised, expected " + name
        if not issubclass(kind, self._kind):
            return False
        self.value = value
        assert self._part in str(value), "%r does not say %r" % (value, self._part)
        return True


def remove_tree(path):
    for entry in list(os.ilistdir(path)):
        inside = path + "/" + entry[0]
        if entry[1] & 0x4000:
            remove_tree(inside)
        else:
            os.remove(inside)
    os.rmdir(path)


class tmp_dir:
    """`with tmp_dir() as path:` is a new folder, gone afterwards with all that is in it."""

    def __enter__(self):
        name = binascii.hexlify(os.urandom(6)).decode()
        self._path = (os.getenv("TMPDIR") or "/tmp") + "/ivota-" + name
        os.mkdir(self._path)
        return self._path

    def __exit__(self, *exc):
        remove_tree(self._path)


def write_file(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def data_of(size, seed=1):
    """So many bytes, others for each seed up to 255."""
    chunk = bytes((i * 7 + seed) & 0xFF for i in range(251))
    return (chunk * (size // 251 + 1))[:size]


def flipped(data, at):
    """The same bytes but for a bit of the one at `at`."""
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


class Clock:
    """A `time` module whose time passes only by `sleep` and `advance_ms`.

    `clock.put_into(module)` replaces that module's global `time`; use it with `with` to have it
    put back. Ticks wrap at 2**30 as on 32-bit boards, or sooner when `period` says so.
    """

    def __init__(self, ms=0, period=1 << 30, unix_time=1700000000):
        assert period & period - 1 == 0
        # On 32 bits a number beyond 30 bits is an object: microseconds would be that soon.
        self._ms = self._start_ms = ms
        self._us = 0  # beyond
        self._last = period - 1
        self._half = period // 2
        self._unix_time = unix_time
        self._replaced = []
        self.sleeps = []  # milliseconds of each sleep asked for

    def advance_ms(self, ms):
        self._ms += ms

    def now_ms(self):
        """Milliseconds that do not wrap, for tests alone."""
        return self._ms

    def put_into(self, *modules):
        for module in modules:
            self._replaced.append((module, module.time))
            module.time = self
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        while self._replaced:
            module, real = self._replaced.pop()
            module.time = real

    # The names of MicroPython's `time`.

    def ticks_ms(self):
        return self._ms & self._last

    def ticks_us(self):
        return (self._ms * 1000 + self._us) & self._last

    def ticks_add(self, ticks, delta):
        return (ticks + delta) & self._last

    def ticks_diff(self, later, earlier):
        return ((later - earlier + self._half) & self._last) - self._half

    def sleep_ms(self, ms):
        self.sleeps.append(ms)
        self._ms += max(ms, 0)

    def sleep_us(self, us):
        more, self._us = divmod(self._us + us, 1000)
        self._ms += more

    def sleep(self, seconds):
        self.sleep_ms(int(seconds * 1000))

    def time(self):
        return self._unix_time + (self._ms - self._start_ms) // 1000

    def gmtime(self, seconds=None):
        return time.gmtime(self.time() if seconds is None else seconds)


class patched:
    """`with patched(module, name=value):` sets attributes of a module and puts them back."""

    def __init__(self, owner, **values):
        self._owner = owner
        self._values = values

    def __enter__(self):
        self._old = {name: getattr(self._owner, name) for name in self._values}
        for name, value in self._values.items():
            setattr(self._owner, name, value)
        return self._owner

    def __exit__(self, *exc):
        for name, value in self._old.items():
            setattr(self._owner, name, value)


class installed:
    """`with installed("machine", fake):` is what `import machine` finds meanwhile."""

    def __init__(self, name, module):
        self._name = name
        self._module = module

    def __enter__(self):
        self._old = sys.modules.get(self._name)
        sys.modules[self._name] = self._module
        return self._module

    def __exit__(self, *exc):
        if self._old is None:
            del sys.modules[self._name]
        else:
            sys.modules[self._name] = self._old


def wait_until(condition, timeout_ms=5000, what="condition"):
    """Call `condition` until it is true, and return what it returned; real time."""
    start = time.ticks_ms()
    while True:
        value = condition()
        if value:
            return value
        if time.ticks_diff(time.ticks_ms(), start) > timeout_ms:
            raise AssertionError("still waiting for " + what)
        time.sleep_ms(1)


class Listener:
    """A TCP server on loopback without threads: the test accepts, and serves what it accepted.

    A client's `connect` succeeds before `accept`, so one test can play both sides in turn as long
    as neither waits for the other. `with Listener() as server:` closes everything.
    """

    def __init__(self):
        # The unix port has no getsockname, so port 0 cannot be used: try until one is free.
        while True:
            self.port = 20000 + int.from_bytes(os.urandom(2), "big") % 12000
            self._sock = socket.socket()
            try:
                self._sock.bind(self.address())
                break
            except OSError as error:
                self._sock.close()
                if error.errno != errno.EADDRINUSE:
                    raise
        self._sock.listen(5)
        self._accepted = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def address(self):
        return socket.getaddrinfo("127.0.0.1", self.port, 0, socket.SOCK_STREAM)[0][-1]

    def connect(self):
        """A blocking client socket, connected."""
        sock = socket.socket()
        sock.connect(self.address())
        self._accepted.append(sock)
        return sock

    def pending(self):
        """True when a client waits to be accepted."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def accept(self, timeout_ms=5000):
        """The next connection, non-blocking."""
        wait_until(self.pending, timeout_ms, "a connection")
        sock = self._sock.accept()[0]
        sock.setblocking(False)
        self._accepted.append(sock)
        return sock

    def pair(self):
        """(client, server) of one new connection, the server's end non-blocking."""
        return self.connect(), self.accept()

    def close(self):
        for sock in self._accepted + [self._sock]:
            sock.close()


def receive(sock, n, timeout_ms=5000):
    """Exactly `n` bytes from a non-blocking socket."""
    out = bytearray()
    start = time.ticks_ms()
    while len(out) < n:
        data = sock.read(n - len(out))
        if data == b"":
            raise AssertionError("closed after %d of %d bytes" % (len(out), n))
        if data:
            out += data
        elif time.ticks_diff(time.ticks_ms(), start) > timeout_ms:
            raise AssertionError("only %d of %d bytes came" % (len(out), n))
        else:
            time.sleep_ms(1)
    return bytes(out)
