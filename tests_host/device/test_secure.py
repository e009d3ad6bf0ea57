"""TLS needs the time: it is asked for, and nothing is trusted without it."""

from ivota import secure
from support import installed, patched, raises


class Time:
    """A clock that was never set: boards begin in 2000."""

    def __init__(self):
        self.year = 2000

    def gmtime(self):
        return (self.year, 1, 1, 0, 0, 0, 5, 1)


class Ntp:
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
