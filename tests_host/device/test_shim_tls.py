"""tls over loopback, both sides in one thread: contexts, verification, short reads, ends."""

import errno
import io
import select
import time

import tls
from doubles import pki

from support import Listener, raises, wait_until

SKIP_ON = {
    "test_a_pem_certificate_is_taken_too": ("preview", "it is built without what reads PEM"),
}


class Pair:
    """A client and a server on non-blocking sockets, not yet shaken hands."""

    def __init__(self, ca=pki.CA, host="board.test", verify=None, cert=pki.CERT, below=None):
        self._listener = Listener()
        self.raw, self.raw_server = self._listener.pair()
        self.raw.setblocking(False)
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, pki.KEY)
        self.server = context.wrap_socket(
            self.raw_server, server_side=True, do_handshake_on_connect=False
        )
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        if verify is not None:
            context.verify_mode = verify
        if ca:
            context.load_verify_locations(ca)
        self.client = context.wrap_socket(
            below(self.raw) if below else self.raw,
            server_hostname=host,
            do_handshake_on_connect=False,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.close()

    def shake(self):
        """Drive both sides until each has had a byte from the other."""
        got = [b"", b""]

        def step():
            for side, sock in enumerate((self.client, self.server)):
                # Also once it has a byte: its own may not have gone out during the handshake.
                sock.write(b".")
                got[side] = got[side] or sock.read(1) or b""
            return all(got)

        wait_until(step, what="the handshake")
        # One side may have sent more than one while it waited.
        time.sleep_ms(50)
        while self.client.read(64) or self.server.read(64):
            pass
        return self


def client_error(**kwargs):
    """What the client's handshake raises, and what it raises when called again."""
    with Pair(**kwargs) as pair:

        def step():
            try:
                pair.server.read(1)
            except OSError:
                pass
            try:
                pair.client.read(1)
            except (OSError, ValueError) as error:
                return error

        first = wait_until(step, what="an error")
        with raises(OSError) as caught:
            pair.client.write(b"x")
        return first, caught.value.errno


def test_constants_and_defaults():
    assert (tls.CERT_NONE, tls.CERT_OPTIONAL, tls.CERT_REQUIRED) == (0, 1, 2)
    client = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    server = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    assert client.verify_mode == tls.CERT_REQUIRED
    assert server.verify_mode == tls.CERT_NONE
    client.verify_mode = tls.CERT_NONE
    assert client.verify_mode == tls.CERT_NONE
    assert not hasattr(client, "check_hostname")
    assert not hasattr(tls, "wrap_socket")
    assert not hasattr(tls, "create_default_context")


def test_certificates_are_der_bytes():
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    assert context.load_verify_locations(pki.CA) is None
    for bad in (b"", b"xx"):
        with raises(ValueError):
            context.load_verify_locations(bad)
    with raises(TypeError):
        context.load_verify_locations(cadata=pki.CA)
    with raises(ValueError):
        tls.SSLContext(tls.PROTOCOL_TLS_SERVER).load_cert_chain(pki.CERT, b"key")


def test_a_pem_certificate_is_taken_too():
    import binascii

    text = binascii.b2a_base64(pki.CA, newline=False)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    pem = b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"
    with Pair(ca=pem) as pair:
        pair.shake()


def test_a_name_is_required():
    with Listener() as server:
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        with raises(ValueError, "CERT_REQUIRED requires server_hostname"):
            context.wrap_socket(server.connect())
        with raises(OSError):
            context.wrap_socket(5, server_hostname="board.test")


def test_a_session():
    with Pair() as pair:
        pair.shake()
        client, server = pair.client, pair.server
        buffer = bytearray(8)
        assert client.readinto(buffer) is None
        assert client.read(4) is None
        assert client.readline() is None
        assert server.write(b"hello") == 5
        poll = select.poll()
        poll.register(client, select.POLLIN)
        assert poll.poll(5000)[0][0] is client
        assert wait_until(lambda: client.readinto(buffer, 2), what="data") == 2
        assert bytes(buffer[:2]) == b"he"
        assert poll.poll(0)[0][1] & select.POLLIN  # decrypted already: the socket has nothing
        assert client.read(10) == b"llo"
        assert client.read(10) is None
        assert poll.poll(0) == []
        assert server.write(b"abc\ndef", 5) == 5
        poll.poll(5000)
        assert client.readline() == b"abc\n"
        assert client.read() == b"d"
        assert client.setblocking(False) is None
        assert client.cipher()[1].startswith("TLS")
        for name in "settimeout fileno recvfrom connect".split():
            assert not hasattr(client, name), name


def test_a_full_session_takes_a_part():
    with Pair() as pair:
        pair.shake()
        block = bytes(20000)
        sent = 0
        while True:
            n = pair.server.write(block)
            if n is None:
                break
            sent += n
        buffer = bytearray(20000)
        got = 0
        while got < sent:
            got += wait_until(lambda: pair.client.readinto(buffer), what="the rest")
        assert got == sent > 0


def test_close():
    with Pair() as pair:
        pair.shake()
        assert pair.server.close() is None
        wait_until(lambda: pair.client.read(1) == b"", what="the end")
        assert pair.client.readinto(bytearray(4)) == 0
        assert pair.client.close() is None
        assert pair.client.close() is None
        for call in (lambda: pair.client.read(1), lambda: pair.client.write(b"x")):
            with raises(OSError):
                call()
        with raises(OSError) as caught:
            pair.raw.read(1)  # closed with it
        assert caught.value.errno == errno.EBADF


def test_an_end_without_goodbye_is_an_end():
    with Pair() as pair:
        pair.shake()
        pair.raw_server.close()
        wait_until(lambda: pair.client.read(1) == b"", what="the end")
        assert pair.client.readinto(bytearray(4)) == 0


def test_another_ca_is_refused():
    error, later = client_error(ca=pki.OTHER_CA)
    assert isinstance(error, ValueError)
    assert "not correctly signed by the trusted CA" in str(error)
    assert later == -9984


def test_another_name_is_refused():
    error, later = client_error(host="other.test")
    assert isinstance(error, ValueError)
    assert "does not match with the expected CN" in str(error)
    assert later == -9984


def test_an_expired_certificate_is_refused():
    error, later = client_error(cert=pki.EXPIRED_CERT)
    assert isinstance(error, ValueError)
    assert "expired" in str(error)
    assert later == -9984


def test_without_a_ca_nothing_is_trusted():
    error, later = client_error(ca=None)
    assert error.errno == -30336  # some builds say in words what that is, others do not
    assert later == -30336


def test_cert_none_trusts_all():
    for kwargs in (
        {"ca": None},
        {"ca": pki.OTHER_CA, "host": "other.test"},
        {"ca": None, "host": None},
        {"ca": None, "cert": pki.EXPIRED_CERT},
    ):
        with Pair(verify=tls.CERT_NONE, **kwargs) as pair:
            pair.shake()


def test_cert_optional_trusts_all():
    with Pair(verify=tls.CERT_OPTIONAL, ca=pki.OTHER_CA, host="other.test") as pair:
        pair.shake()


def test_garbage_ends_the_session():
    with Pair() as pair:
        pair.client.read(1)
        pair.raw_server.write(b"garbage!")

        def error():
            try:
                pair.client.read(1)
            except OSError as error:
                return error.errno

        assert wait_until(error, what="an error") == -0x7200
        with raises(OSError) as caught:
            pair.client.write(b"x")
        assert caught.value.errno == -0x7200


def test_a_timeout_ends_the_session():
    with Pair() as pair:
        pair.shake()
        pair.raw.settimeout(0.05)
        with raises(OSError) as caught:
            pair.client.readinto(bytearray(4))
        # Negative up to 1.27.
        assert abs(caught.value.errno) == errno.ETIMEDOUT
        pair.server.write(b"abc")
        for _ in range(2):
            with raises(OSError) as caught:
                pair.client.readinto(bytearray(4))
            assert abs(caught.value.errno) == errno.ETIMEDOUT


def test_a_handshake_times_out():
    with Listener() as server:
        sock, _ = server.pair()
        sock.settimeout(0.05)
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        with raises(OSError) as caught:
            context.wrap_socket(sock, server_hostname="board.test")
        assert caught.value.errno == errno.ETIMEDOUT


def test_any_stream_may_be_below():
    class Below(io.IOBase):
        def __init__(self, sock):
            self._sock = sock
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)

        def readinto(self, buffer):
            return self._sock.readinto(buffer)

        def write(self, data):
            return self._sock.write(data)

        def ioctl(self, request, arg):
            if request == 3:
                self._poll.modify(self._sock, arg)
                found = self._poll.poll(0)
                return found[0][1] if found else 0
            if request == 4:
                self._sock.close()
                return 0
            return -1

    with Pair(below=Below) as pair:
        pair.shake()
        poll = select.poll()
        poll.register(pair.client, select.POLLIN)
        assert poll.poll(0) == []
        pair.server.write(b"hello")
        assert poll.poll(5000)[0][1] == select.POLLIN
        assert wait_until(lambda: pair.client.read(5), what="data") == b"hello"
        pair.client.close()
        with raises(OSError) as caught:
            pair.raw.read(1)
        assert caught.value.errno == errno.EBADF
