"""`socket` as the unix port has it: addresses are packed bytes, and sockets are streams."""

import socket as host
import struct

from ..errors import EAGAIN, ETIMEDOUT, DeviceOSError, mapped
from ..streams import data_of, part, read_line, room

NAMES = """
    AF_INET AF_INET6 AF_UNIX MSG_DONTROUTE MSG_DONTWAIT SOCK_DGRAM SOCK_RAW SOCK_STREAM
    SOL_SOCKET SO_BROADCAST SO_ERROR SO_KEEPALIVE SO_LINGER SO_REUSEADDR inet_ntop inet_pton
""".split()
CHUNK = 4096


def packed(family, address):
    """A sockaddr of the kernel's, as getaddrinfo and accept return it."""
    head = struct.pack("=H", family) + struct.pack("!H", address[1])
    if family == host.AF_INET6:
        tail = struct.pack("!I", address[2]) + host.inet_pton(family, address[0])
        return bytearray(head + tail + struct.pack("=I", address[3]))
    return bytearray(head + host.inet_aton(address[0]) + bytes(8))


def unpacked(address):
    """(family, address for the host's calls)"""
    raw = bytes(data_of(address))
    if len(raw) < 16:
        raise DeviceOSError(22)
    family = struct.unpack("=H", raw[:2])[0]
    port = struct.unpack("!H", raw[2:4])[0]
    if family == host.AF_INET6:
        scope = struct.unpack("=I", raw[24:28])[0]
        return family, (host.inet_ntop(family, raw[8:24]), port, 0, scope)
    return family, (host.inet_ntoa(raw[4:8]), port)


class socket:
    """One socket. A wait that ends by its timeout is ETIMEDOUT, one that may not wait is None."""

    def __init__(self, family=host.AF_INET, kind=host.SOCK_STREAM, proto=0, fileno=None, *_):
        self._sock = host.socket(family, kind, proto)
        self._blocking = True

    @classmethod
    def _of(cls, sock):
        made = cls.__new__(cls)
        made._sock = sock
        made._blocking = True
        return made

    def __del__(self):
        if hasattr(self, "_sock"):
            self._sock.close()

    def fileno(self):
        return self._sock.fileno()

    def close(self):
        self._sock.close()

    @mapped
    def connect(self, address):
        self._sock.connect(unpacked(address)[1])

    @mapped
    def bind(self, address):
        self._sock.bind(unpacked(address)[1])

    @mapped
    def listen(self, backlog=2):
        self._sock.listen(backlog)

    @mapped
    def accept(self):
        try:
            sock, address = self._sock.accept()
        except BlockingIOError:
            raise DeviceOSError(self._late()) from None
        sock.setblocking(True)
        return socket._of(sock), packed(sock.family, address)

    def _late(self):
        return ETIMEDOUT if self._blocking else EAGAIN

    @mapped
    def setsockopt(self, level, option, value):
        self._sock.setsockopt(level, option, value)

    @mapped
    def setblocking(self, flag):
        # The timeouts are the kernel's, and stay: this is where esp32 differs.
        self._sock.setblocking(bool(flag))
        self._blocking = bool(flag)

    @mapped
    def settimeout(self, seconds):
        self._sock.fileno()
        if seconds == 0:
            self.setblocking(False)
            return
        seconds = float(seconds or 0)
        value = struct.pack("@ll", int(seconds), int(seconds % 1 * 1000000))
        if seconds >= 0:
            self._sock.setsockopt(host.SOL_SOCKET, host.SO_RCVTIMEO, value)
            self._sock.setsockopt(host.SOL_SOCKET, host.SO_SNDTIMEO, value)
        self.setblocking(True)

    @mapped
    def recv(self, n, flags=0):
        return self._sock.recv(n, flags)

    @mapped
    def recvfrom(self, n, flags=0):
        data, address = self._sock.recvfrom(n, flags)
        return data, packed(self._sock.family, address)

    @mapped
    def send(self, data, flags=0):
        return self._sock.send(data_of(data), flags)

    @mapped
    def sendto(self, data, address):
        return self._sock.sendto(data_of(data), unpacked(address)[1])

    # The stream calls go on until all is done, the peer closed, or there is nothing for now.

    def _stop(self, done):
        """What a call returns that has to stop early with `done` bytes."""
        if self._blocking:
            raise DeviceOSError(ETIMEDOUT) from None
        return done or None

    @mapped
    def readinto(self, buffer, n=None):
        view = room(buffer, n)
        done = 0
        while done < len(view):
            try:
                got = self._sock.recv_into(view[done:])
            except BlockingIOError:
                return self._stop(done)
            if not got:
                break
            done += got
        return done

    def read(self, n=-1):
        out = bytearray()
        while n < 0 or len(out) < n:
            buffer = bytearray(CHUNK if n < 0 else n - len(out))
            got = self.readinto(memoryview(buffer)[:CHUNK])
            if got is None:
                return bytes(out) or None
            out += buffer[:got]
            if got < min(len(buffer), CHUNK):
                break
        return bytes(out)

    def readline(self, n=-1):
        return read_line(self.read, n)

    @mapped
    def write(self, data, *args):
        view = part(data, args)
        done = 0
        while done < len(view):
            try:
                done += self._sock.send(view[done:])
            except BlockingIOError:
                return self._stop(done)
        return done


def make(world):
    def getaddrinfo(name, port, family=0, kind=0, proto=0, flags=0):
        if isinstance(name, bytes):
            name = name.decode()
        if not isinstance(name, str):
            raise TypeError("can't convert '%s' object to str implicitly" % type(name).__name__)
        try:
            if not name:
                raise host.gaierror(-2, "")
            found = host.getaddrinfo(name, port, family, kind, proto, flags)
        except host.gaierror as error:
            raise DeviceOSError("[addrinfo error %d]" % error.errno) from None
        return [(f, k, p, None, packed(f, address)) for f, k, p, _, address in found]

    def sockaddr(address):
        family, parts = unpacked(address)
        return (family, host.inet_pton(family, parts[0])) + parts[1:]

    names = {name: int(getattr(host, name)) for name in NAMES if name.isupper()}
    return dict(
        names,
        getaddrinfo=getaddrinfo,
        inet_ntop=host.inet_ntop,
        inet_pton=host.inet_pton,
        sockaddr=sockaddr,
        socket=socket,
    )
