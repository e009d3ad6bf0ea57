"""TLS trusts one authority, and needs the time: it is asked for, nothing goes without it."""

import binascii

from ivota import net, secure
from support import installed, patched, raises, tmp_dir, write_file


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


def test_the_peer_is_verified_against_the_given_authority():
    der = bytes(range(256)) * 3
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % binascii.b2a_base64(der)
    for data in (der, pem, b"Issuer: me\r\n\r\n" + pem.replace(b"\n", b"\r\n"), pem + pem):
        context = Context()
        clock = Time()
        clock.year = 2026
        with tmp_dir() as path, patched(secure, time=clock, tls=context):
            write_file(path + "/ca", data)
            assert secure.wrap("raw", "h", path + "/ca") == "wrapped"
        assert context.trusted == [der] and context.protocol == 1
        assert context.wrapped == [("raw", "h", False)]


def test_without_an_authority_there_is_no_connection():
    clock = Time()
    clock.year = 2026
    context = Context()
    with tmp_dir() as path, patched(secure, time=clock, tls=context):
        with raises(OSError):
            secure.wrap("raw", "h", path + "/gone")
        assert not context.wrapped


def test_the_clock_is_set_first():
    clock = Time()
    with patched(secure, time=clock, tls=Tls()), installed("ntptime", Ntp(clock)):
        with raises(Reached):
            secure.wrap(None, "h", "/ca")
    assert clock.year == 2026


def test_a_clock_that_is_set_is_not_asked_for():
    clock = Time()
    clock.year = 2026
    with patched(secure, time=clock, tls=Tls()):
        with installed("ntptime", Ntp(clock, OSError("asked"))):
            with raises(Reached):
                secure.wrap(None, "h", "/ca")


def test_without_an_answer_there_is_no_connection_and_a_clear_word():
    clock = Time()
    with patched(secure, time=clock, tls=Tls()):
        with installed("ntptime", Ntp(clock, OSError("ETIMEDOUT"))):
            with raises(OSError, "the clock is not set, and NTP did not answer"):
                secure.wrap(None, "h", "/ca")


def test_the_time_comes_from_the_configured_server_or_from_nobody():
    for host, asked in ((None, "the port's own"), ("time.example", "time.example")):
        clock = Time()
        ntp = Ntp(clock)
        with patched(secure, time=clock, tls=Tls()), patched(net, ntp_host=host):
            with installed("ntptime", ntp), raises(Reached):
                secure.wrap(None, "h", "/ca")
        assert ntp.host == asked
    clock = Time()
    with patched(secure, time=clock, tls=Tls()), patched(net, ntp_host=""):
        with installed("ntptime", Ntp(clock, OSError("asked"))):
            with raises(OSError, "ntp_host names nobody to ask"):
                secure.wrap(None, "h", "/ca")
    clock.year = 2026
    with patched(secure, time=clock, tls=Tls()), patched(net, ntp_host=""), raises(Reached):
        secure.wrap(None, "h", "/ca")
