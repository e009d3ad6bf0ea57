"""A network in memory with one MQTT broker on it, for a virtual clock: no wait takes real time.

Its sockets are as esp32 has them: `setblocking(True)` removes a timeout, and a read that would
then wait for ever fails the test.
"""

import errno

import ivota
from ivota import guarded_socket, mqtt_session
from support import Clock, patched

POLLIN = 1
POLLOUT = 4


def frame(head, body):
    """An MQTT packet: first byte, remaining length, body."""
    n = len(body)
    length = bytearray()
    while True:
        length.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes([head]) + bytes(length) + body


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def message(topic, payload, qos=0, pid=1, retain=0):
    """A PUBLISH from the broker."""
    ident = pid.to_bytes(2, "big") if qos else b""
    return frame(0x30 | qos << 1 | retain, text(topic) + ident + payload)


class Socket:
    def __init__(self, network):
        self.network = network
        self.blocking = True
        self.out = b""  # from the broker, not read yet
        self.received = b""  # by the broker, all of it
        self.packets = []  # (first byte, body) of each whole one
        self._at = 0
        self.ended = False  # by the broker
        self.closed = False

    def setblocking(self, flag):
        self.blocking = flag

    def settimeout(self, _timeout_s):
        self.blocking = True

    def connect(self, _address):
        if self.network.refuse:
            raise OSError(errno.ECONNREFUSED)
        raise OSError(errno.EINPROGRESS)

    def _check(self):
        if self.closed:
            raise OSError(errno.EBADF)
        if self.network.reset:
            raise OSError(errno.ECONNRESET)

    def read(self, n):
        self._check()
        if not self.out:
            if self.ended:
                return b""
            assert not self.blocking, "this would block for ever"
            return None
        data = self.out[:n]
        self.out = self.out[n:]
        return data

    def readline(self, n):
        at = self.out.find(b"\n") + 1
        return self.read(min(at or len(self.out) or n, n))

    def readinto(self, buffer, n=None):
        data = self.read(len(buffer) if n is None else n)
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        self._check()
        self.received += data.encode() if isinstance(data, str) else bytes(data)
        while self._take():
            pass
        return len(data)

    def _take(self):
        data = self.received
        at = self._at + 1
        n = shift = 0
        while True:
            if at >= len(data):
                return False
            n |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 0x80:
                break
        if at + n > len(data):
            return False
        packet = (data[self._at], data[at : at + n])
        self._at = at + n
        self.packets.append(packet)
        self.network.answer(self, *packet)
        return True

    def readable(self):
        return bool(self.out) or self.ended or self.network.reset

    def close(self):
        self.closed = True


class Poll:
    def __init__(self, network):
        self._network = network
        self._mask = 0
        self._raw = None

    def register(self, raw, mask):
        self._raw = raw
        self._mask = mask

    def modify(self, raw, mask):
        assert raw is self._raw
        self._mask = mask

    def unregister(self, _raw):
        self._raw = None

    def ipoll(self, ms):
        if self._mask & POLLOUT and not self._network.silent:
            return [(self._raw, POLLOUT)]
        if self._mask & POLLIN and self._raw.readable():
            return [(self._raw, POLLIN)]
        assert ms >= 0, "this would block for ever"
        self._network.clock.advance_ms(ms)
        return []


class Network:
    """`with Network() as network:` is what `ivota`, `net` and `link` have for a world.

    Attributes say how its broker behaves; each connection is one of `sockets`.
    """

    SOCK_STREAM = 1

    def __init__(self, ms=5000, period=1 << 30):
        self.clock = Clock(ms, period)
        self.sockets = []
        self.refuse = False  # connections are refused
        self.silent = False  # connections are neither taken nor refused
        self.reset = False  # every connection is reset
        self.connack = b"\x20\x02\0\0"
        self.suback = b"\x01"  # a return code for each topic
        self.acks = True  # whether PUBLISH with QoS 1 is acknowledged
        self.pongs = True

    def __enter__(self):
        self._patch = patched(guarded_socket, socket=self, select=self)
        self._patch.__enter__()
        self.clock.put_into(guarded_socket, mqtt_session, ivota)
        return self

    def __exit__(self, *exc):
        self.clock.__exit__(*exc)
        self._patch.__exit__(*exc)

    # What `net` finds as `socket` and as `select`

    def getaddrinfo(self, *_args):
        return [(2, 1, 0, "", ("10.0.0.1", 1883))]

    def socket(self, *_args):
        self.sockets.append(Socket(self))
        return self.sockets[-1]

    def poll(self):
        return Poll(self)

    # The broker

    def answer(self, sock, head, body):
        if head == 0x10 and self.connack is not None:
            sock.out += self.connack
        elif head == 0x82 and self.suback is not None:
            sock.out += frame(0x90, body[:2] + self.suback)
        elif head == 0xC0 and self.pongs:
            sock.out += b"\xd0\0"
        elif head & 0xF6 == 0x32 and self.acks:
            topic = int.from_bytes(body[:2], "big")
            sock.out += b"\x40\x02" + body[2 + topic : 4 + topic]

    @property
    def sock(self):
        """The newest connection."""
        return self.sockets[-1]

    def published(self, sock=None):
        """(qos, topic, payload) of each PUBLISH on a connection, or on all."""
        found = []
        for one in self.sockets if sock is None else [sock]:
            for head, body in one.packets:
                if head & 0xF0 == 0x30:
                    n = 2 + int.from_bytes(body[:2], "big")
                    qos = head >> 1 & 3
                    found.append((qos, body[2:n].decode(), body[n + (2 if qos else 0) :].decode()))
        return found
