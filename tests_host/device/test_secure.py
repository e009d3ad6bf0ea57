"""TLS trusts one authority, and needs the time: it is asked for, nothing goes without it."""

import binascii
import socket

import tls
from doubles import pki

from ivota import OtaError, guarded_socket, tls_client
from support import Listener, installed, patched, raises, tmp_dir, wait_until, write_file


class Time:
    """A clock that was never set: boards begin in 2000."""

    def __init__(self):
        self.year = 2000

    def gmtime(self):
        return (self.year, 1, 1, 0, 0, 0, 5, 1)


class Ntp:
    host = "the port's own"

    def __init__(self, clock, error=None):
        self.clock = clock
        self.error = error

    def settime(self):
        if self.error:
            raise self.error
        self.clock.year = 2026


class Reached(Exception):
    """The context is asked for: the time was good enough."""


class Tls:
    PROTOCOL_TLS_CLIENT = CERT_REQUIRED = 0

    def SSLContext(self, _protocol):
        raise Reached


class Context:
    """What `wrap` asks of `tls`; it is the module and its context in one."""

    PROTOCOL_TLS_CLIENT = 1
    CERT_REQUIRED = 2

    def __init__(self):
        self.verify_mode = self.protocol = None
        self.trusted = []
        self.wrapped = []

    def SSLContext(self, protocol):
        self.protocol = protocol
        return self

    def load_verify_locations(self, der):
        self.trusted.append(der)

    def wrap_socket(self, raw, server_hostname, do_handshake_on_connect):
        assert self.verify_mode == self.CERT_REQUIRED and self.trusted
        self.wrapped.append((raw, server_hostname, do_handshake_on_connect))
        return "wrapped"


def pem(der, kind=b"CERTIFICATE", width=64):
    text = binascii.b2a_base64(der).strip()
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind, b"\n".join(lines), kind)


def trusted(data):
    """What is loaded from a file with `data`, certificate by certificate."""
    context = Context()
    clock = Time()
    clock.year = 2026
    with tmp_dir() as path, patched(tls_client, time=clock, tls=context):
        write_file(path + "/ca", data)
        assert tls_client.wrap("raw", "h", path + "/ca") == "wrapped"
    assert context.protocol == 1 and context.wrapped == [("raw", "h", False)]
    return context.trusted


def test_every_certificate_of_a_file_is_trusted():
    one, two = bytes(range(256)) * 3, bytes(range(255, -1, -1))
    for data, expected in (
        (one, [one]),
        (pem(one), [one]),
        (b"Issuer: me\r\n\r\n" + pem(one).replace(b"\n", b"\r\n"), [one]),
        (pem(one) + pem(two), [one, two]),
        (b"# two roots\n" + pem(one, width=4096) + b"\nand\n" + pem(two) + b"end", [one, two]),
        (b"\xef\xbb\xbf" + pem(one) + pem(two, b"TRUSTED CERTIFICATE"), [one, two]),
        (pem(one, b"PRIVATE KEY") + pem(two, b"X509 CERTIFICATE").strip(), [two]),
    ):
        assert trusted(data) == expected


def test_a_server_of_either_authority_is_reached():
    clock = Time()
    clock.year = 2026
    for first, second in ((pki.CA, pki.OTHER_CA), (pki.OTHER_CA, pki.CA)):
        with tmp_dir() as path, patched(tls_client, time=clock):
            write_file(path + "/ca", pem(first) + pem(second))
            with Listener() as server:
                client, peer = server.pair()
                client.setblocking(False)
                context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(pki.CERT, pki.KEY)
                far = context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
                near = tls_client.wrap(client, "board.test", path + "/ca")
                wait_until(lambda ends=(near, far): passes(*ends))
                near.close()
                far.close()


def passes(near, far):
    """Whether a byte comes through; the handshake goes on with each call."""
    near.write(b"x")
    return far.read(1) == b"x"


def test_certificates_that_cannot_be_read():
    clock = Time()
    clock.year = 2026
    good = pem(pki.CA)
    for data, words in (
        (None, "cannot read a certificate from "),
        (b"", "certificate 1 of "),
        (b"no certificate", "certificate 1 of "),
        (pki.CA[:-9], "certificate 1 of "),
        (pem(pki.CA[:-9]), "certificate 1 of "),
        (good + pem(pki.OTHER_CA[:-9]), "certificate 2 of "),
        (good + good[:-40], "certificate 2 of "),
        (good[:-40] + b"\n" + good, "certificate 2 of "),
        (good + good[40:], "certificate 1 of "),
        (good + pem(b"\x30\x03\x02\x01\x05"), "certificate 2 of "),
    ):
        with tmp_dir() as path, patched(tls_client, time=clock):
            if data is not None:
                write_file(path + "/ca", data)
            try:
                tls_client.wrap(socket.socket(), "h", path + "/ca")
            except OtaError as error:
                assert error.code == -5 and not error.again
                assert words in error.message and "/ca" in error.message
                assert data is None or error.message.endswith("is damaged")
            else:
                raise AssertionError("taken: %s" % data)


def test_the_clock_is_set_first():
    clock = Time()
    with patched(tls_client, time=clock, tls=Tls()), installed("ntptime", Ntp(clock)):
        with raises(Reached):
            tls_client.wrap(None, "h", "/ca")
    assert clock.year == 2026


def test_a_clock_that_is_set_is_not_asked_for():
    clock = Time()
    clock.year = 2026
    with patched(tls_client, time=clock, tls=Tls()):
        with installed("ntptime", Ntp(clock, OSError("asked"))):
            with raises(Reached):
                tls_client.wrap(None, "h", "/ca")


def test_without_an_answer_there_is_no_connection_and_a_clear_word():
    clock = Time()
    with patched(tls_client, time=clock, tls=Tls()):
        with installed("ntptime", Ntp(clock, OSError("ETIMEDOUT"))):
            with raises(OSError, "the clock is not set, and NTP did not answer"):
                tls_client.wrap(None, "h", "/ca")


def test_the_time_comes_from_the_configured_server_or_from_nobody():
    for host, asked in ((None, "the port's own"), ("time.example", "time.example")):
        clock = Time()
        ntp = Ntp(clock)
        asking = patched(guarded_socket.hooks, ntp_host=host)
        with patched(tls_client, time=clock, tls=Tls()), asking:
            with installed("ntptime", ntp), raises(Reached):
                tls_client.wrap(None, "h", "/ca")
        assert ntp.host == asked
    clock = Time()
    with patched(tls_client, time=clock, tls=Tls()), patched(guarded_socket.hooks, ntp_host=""):
        with installed("ntptime", Ntp(clock, OSError("asked"))):
            with raises(OSError, "ntp_host is empty"):
                tls_client.wrap(None, "h", "/ca")
    clock.year = 2026
    nobody = patched(guarded_socket.hooks, ntp_host="")
    with patched(tls_client, time=clock, tls=Tls()), nobody, raises(Reached):
        tls_client.wrap(None, "h", "/ca")
