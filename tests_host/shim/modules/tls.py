"""`tls`: MicroPython's contexts and sockets on the host's ssl, over any stream there may be below.

Its errors are mbedtls' and stick: after the first, every further call fails with the same number.
"""

import select
import ssl
import tempfile

from ..errors import DeviceOSError
from ..streams import CLOSE, GET_FILENO, POLL, IOBase, close, data_of, part, read_line, room

CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2
PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 0, 1
RECORD = 16384

CLOSED = -32
VERIFY_FAILED = -0x2700
NO_CA = -0x7680
BAD_RECORD = -0x7200
MESSAGES = {
    10: "\nThe certificate validity has expired\n",
    62: "\nThe certificate Common Name (CN) does not match with the expected CN\n",
}
UNTRUSTED = "\nThe certificate is not correctly signed by the trusted CA\n"


def pem_of(data, label):
    data = bytes(data_of(data))
    if data.startswith(b"-----BEGIN"):
        return data.decode()
    text = ssl.DER_cert_to_PEM_cert(data)
    return text.replace("CERTIFICATE", label)


class SSLContext:
    def __init__(self, protocol, /):
        if protocol not in (PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER):
            raise ValueError("protocol")
        self._client = protocol == PROTOCOL_TLS_CLIENT
        self._host = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT if self._client else ssl.PROTOCOL_TLS_SERVER
        )
        self._host.check_hostname = False
        self._has_ca = self._has_key = False
        self._chain = []
        self.verify_mode = CERT_REQUIRED if self._client else CERT_NONE
        self.verify_callback = None

    def load_verify_locations(self, data, /):
        try:
            self._host.load_verify_locations(cadata=pem_of(data, "CERTIFICATE"))
        except (ssl.SSLError, ValueError):
            raise ValueError("invalid cert") from None
        self._has_ca = True

    def load_cert_chain(self, cert, key, /):
        """Adds to the certificates of before. A key in PKCS #8 is refused where there is one,
        which is gone then (mbedtls_pk_parse_key)."""
        # The key's kind is not known from outside; the host's ssl wants files, and PEM.
        for label in ("EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"):
            chain = [*self._chain, pem_of(cert, "CERTIFICATE")]
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write("".join(chain) + pem_of(key, label))
                file.flush()
                try:
                    self._host.load_cert_chain(file.name)
                except ssl.SSLError:
                    continue
            if label == "PRIVATE KEY" and self._has_key:
                break
            self._chain, self._has_key = chain, True
            return
        self._has_key = False
        raise ValueError("invalid key")

    def get_ciphers(self):
        return [cipher["name"] for cipher in self._host.get_ciphers()]

    def set_ciphers(self, names):
        self._host.set_ciphers(":".join(names))

    def wrap_socket(
        self, sock, *, server_side=False, do_handshake_on_connect=True, server_hostname=None
    ):
        if not hasattr(sock, "readinto"):
            raise DeviceOSError("stream operation not supported")
        needed = self.verify_mode == CERT_REQUIRED
        if needed and not server_side and server_hostname is None:
            raise ValueError("CERT_REQUIRED requires server_hostname")
        # To a client of mbedtls an optional certificate is one that may be bad.
        self._host.check_hostname = False
        self._host.verify_mode = ssl.CERT_REQUIRED if needed else ssl.CERT_NONE
        self._host.check_hostname = needed and not server_side
        usable = self._has_ca or not needed
        return SSLSocket(self._host, sock, server_side, server_hostname, usable).begin(
            do_handshake_on_connect
        )


class SSLSocket(IOBase):
    def __init__(self, context, sock, server_side, server_hostname, has_ca):
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._unsent = b""
        self._held = 0  # bytes of the caller's that stand encrypted in _unsent
        self._head = b""  # of the record that is coming in
        self._left = 0  # bytes of its body
        self._has_ca = has_ca
        self._shaken = False
        self._error = None
        self._tls = context.wrap_bio(self._in, self._out, server_side, server_hostname)

    def begin(self, now):
        if now:
            while not self._handshake():
                pass
        return self

    # The stream below.

    def _fail(self, number, *args):
        self._error = number
        return DeviceOSError(number, *args)

    def _flush(self):
        """Send what is ready; True when all of it went."""
        self._unsent += self._out.read()
        while self._unsent:
            try:
                n = self._sock.write(self._unsent)
            except OSError as error:
                self._error = -(error.errno or 5)
                raise
            if n is None:
                return False
            self._unsent = self._unsent[n:]
        return True

    def _fill(self):
        """Take what has come of one record's head or body; False when there is nothing for now."""
        buffer = bytearray(self._left or 5 - len(self._head))
        try:
            n = self._sock.readinto(buffer)
        except OSError as error:
            number = error.errno or 5
            self._error = -number
            # Once the session stands, the error comes back as mbedtls' own: negative.
            raise DeviceOSError(-number if self._shaken else number) from None
        if n is None:
            return False
        if n == 0:
            self._in.write_eof()
            return True
        self._in.write(buffer[:n])
        if self._left:
            self._left -= n
        else:
            self._head += buffer[:n]
            if len(self._head) == 5:
                self._left = int.from_bytes(self._head[3:], "big")
                self._head = b""
        return True

    # The session.

    def _do(self, call, *args):
        """What `call` returns once the stream below has served it; None when it cannot yet."""
        if self._error is not None:
            raise DeviceOSError(self._error)
        while True:
            try:
                value = call(*args)
                self._flush()
                return value
            except ssl.SSLWantReadError:
                if not self._flush() or not self._fill():
                    return None
            except ssl.SSLCertVerificationError as error:
                self._flush()
                if not self._has_ca:
                    reason = "SSL - No CA Chain is set, but required to operate"
                    raise self._fail(NO_CA, reason) from None
                self._error = VERIFY_FAILED
                raise ValueError(MESSAGES.get(error.verify_code, UNTRUSTED)) from None
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise self._fail(BAD_RECORD, str(error.reason)) from None

    def _handshake(self):
        """True once the session stands."""
        if not self._shaken:
            done = self._do(self._tls_handshake)
            if done == b"":
                raise self._fail(-104)
            self._shaken = done is True
        return self._shaken

    def _tls_handshake(self):
        self._tls.do_handshake()
        return True

    def _get(self, n):
        """At least one byte and at most n; b"" at the end, None when there are none for now."""
        if not self._handshake():
            return None
        return self._do(self._tls.read, n)

    def read(self, n=-1):
        out = bytearray()
        while n < 0 or len(out) < n:
            data = self._get(RECORD if n < 0 else n - len(out))
            if data is None:
                return bytes(out) or None
            if not data:
                break
            out += data
        return bytes(out)

    def readinto(self, buffer, n=None):
        view = room(buffer, n)
        data = self.read(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

    def readline(self, n=-1):
        return read_line(self._get, n)

    def write(self, data, *args):
        view = part(data, args)
        if not self._handshake():
            return None
        done = 0
        while done < len(view):
            if self._error is not None:
                raise DeviceOSError(self._error)
            if self._held:
                n, self._held = self._held, 0
            else:
                n = self._do(self._tls.write, view[done : done + RECORD])
            if n is None:
                return done or None
            if n == b"":
                raise self._fail(CLOSED)
            if not self._flush():
                self._held = n  # not counted before it is on its way
                return done or None
            done += n
        return done

    recv = read
    send = write
    sendall = write
    recv_into = readinto

    def setblocking(self, flag):
        self._sock.setblocking(flag)

    def close(self):
        if self._error != CLOSED:
            if self._error is None and self._shaken:
                try:
                    self._tls.unwrap()
                except (ssl.SSLError, OSError):
                    pass
                try:
                    self._flush()
                except OSError:
                    pass
            self._error = CLOSED
            close(self._sock)

    def cipher(self):
        name, version, _ = self._tls.cipher()
        return name, version

    def getpeercert(self, binary):
        return self._tls.getpeercert(binary)

    def ioctl(self, request, arg):
        if request == GET_FILENO:
            return -1
        if request == CLOSE:
            self.close()
        if request != POLL:
            return 0
        if arg & select.POLLIN and (self._tls.pending() or self._in.pending):
            return select.POLLIN
        if hasattr(self._sock, "ioctl"):
            return self._sock.ioctl(POLL, arg)
        below = select.poll()
        below.register(self._sock.fileno(), arg)
        return sum(event for _, event in below.poll(0))


def make(world):
    return {
        "CERT_NONE": CERT_NONE,
        "CERT_OPTIONAL": CERT_OPTIONAL,
        "CERT_REQUIRED": CERT_REQUIRED,
        "MBEDTLS_VERSION": "none: " + ssl.OPENSSL_VERSION,
        "PROTOCOL_DTLS_CLIENT": 2,
        "PROTOCOL_DTLS_SERVER": 3,
        "PROTOCOL_TLS_CLIENT": PROTOCOL_TLS_CLIENT,
        "PROTOCOL_TLS_SERVER": PROTOCOL_TLS_SERVER,
        "SSLContext": SSLContext,
    }
