"""A minimal network of one connection for `net`, on which the peer's bytes arrive at once.

Its clock advances only while the code waits.
"""

import errno

from ivota import guarded_socket


class Wire:
    """Within `with Wire(data) as wire:`, it is `socket`, `select` and `time` of `net` and
    `modules`.

    `answer(sent)` returns the peer's bytes in response to those sent so far, once; `data` follows.
    """

    AF_INET, SOCK_STREAM = 2, 1

    def __init__(self, data, *modules, answer=None):
        self.out = data  # sent by the peer, not read yet
        self.sent = b""
        self.ended = True  # whether the peer closes after that
        self.closed = False
        self.connections = 0
        self.mask = 0
        self.ms = 5000
        self._answer = answer
        self._modules = modules

    def __enter__(self):
        self._old = guarded_socket.socket, guarded_socket.select, guarded_socket.time
        guarded_socket.socket = guarded_socket.select = guarded_socket.time = self
        for module in self._modules:
            module.time = self
        return self

    def __exit__(self, *_):
        guarded_socket.socket, guarded_socket.select, time = self._old
        guarded_socket.time = time
        for module in self._modules:
            module.time = time

    # time

    def ticks_ms(self):
        return self.ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def ticks_add(self, ticks, delta):
        return ticks + delta

    # select

    def poll(self):
        return self

    def register(self, _raw, mask):
        self.mask = mask

    modify = register

    def unregister(self, _raw):
        pass

    def ipoll(self, ms):
        if self.mask & 4:
            return [(self, 4)]
        if self.out or self.ended:
            return [(self, 1)]
        assert ms >= 0, "this would block for ever"
        self.ms += ms
        return ()

    # socket

    def getaddrinfo(self, host, port, *_):
        return [(2, 1, 0, "", (host, port))]

    def socket(self, *_):
        self.connections += 1
        return self

    def setblocking(self, _flag):
        pass

    def connect(self, _address):
        raise OSError(errno.EINPROGRESS)

    def read(self, n):
        if self.closed:
            raise OSError(errno.EBADF)
        if not self.out:
            return b"" if self.ended else None
        data = self.out[:n]
        self.out = self.out[n:]
        return data

    def readline(self, n):
        at = self.out.find(b"\n") + 1
        return self.read(min(at or len(self.out) or n, n))

    def write(self, data):
        if self.closed:
            raise OSError(errno.EBADF)
        data = data.encode() if isinstance(data, str) else bytes(data)
        self.sent += data
        if self._answer:
            self.out = self._answer(data) + self.out
        return len(data)

    def close(self):
        self.closed = True
