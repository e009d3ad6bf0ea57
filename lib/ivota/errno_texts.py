"""Explain the OSErrors of sockets in words."""

import errno

# The module `errno` lacks these. The numbers are those of Linux or of newlib, which esp32 uses.
_NEWLIB = errno.ETIMEDOUT == 116
_ENETDOWN, _ENETUNREACH = (115, 114) if _NEWLIB else (100, 101)
_EPIPE = 32


def words(error):
    """Return an explanation with the error's name, or None for any other error."""
    number = error.errno
    if number == -1:  # umqtt raises this at the end of the stream
        return "the peer closed the connection"
    if number == errno.ETIMEDOUT:
        text = "no answer in time"
    elif number == errno.ECONNREFUSED:
        text = "no server listens on this port"
    elif number in (errno.EHOSTUNREACH, _ENETUNREACH, _ENETDOWN):
        text = "no network, or no route to this address"
    elif number in (errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, _EPIPE):
        text = "the connection was lost"
    else:
        return None
    return "%s (%s)" % (text, errno.errorcode.get(number, "errno %d" % number))
