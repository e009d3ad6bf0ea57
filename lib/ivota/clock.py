"""Read the time on a board whose clock may not be set, and set the clock by NTP."""

import time

from micropython import const

from ivota import guarded_socket

_YEAR = const(2025)  # an earlier time means that the clock was never set
_TO_2000 = const(946684800)  # seconds from 1970


def unix_time():
    """Return the seconds since 1970, or None if the clock was never set."""
    if time.gmtime()[0] < _YEAR:
        return None
    # Boards count from 2000; the unix port and CPython count from 1970.
    return int(time.time()) + (_TO_2000 if time.gmtime(0)[0] == 2000 else 0)


def set_by_ntp():
    """Set the clock by NTP, because certificates have dates; OSError if that fails."""
    if guarded_socket.hooks.ntp_host == "":
        raise OSError("the clock is not set, and ntp_host is empty")
    try:
        import ntptime

        if guarded_socket.hooks.ntp_host:
            ntptime.host = guarded_socket.hooks.ntp_host
        ntptime.settime()
    except (ImportError, OSError) as error:
        raise OSError("the clock is not set, and NTP did not answer: %s" % error)
