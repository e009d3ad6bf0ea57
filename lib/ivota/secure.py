"""TLS that is verified or refused: the certificate authority is the configured one, no other."""

import binascii
import time

import tls

from ivota import net

_YEAR = 2025  # a clock that shows less was never set


def wrap(raw, host, ca):
    """`raw`, connected and non-blocking, as the client side of TLS.

    `ca` is the path of a certificate in PEM or DER. The handshake runs in the first read or
    write, which fails for a certificate of another authority, another name, or out of its time.
    """
    if time.gmtime()[0] < _YEAR:
        _set_clock()
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    with open(ca, "rb") as file:
        context.load_verify_locations(_der(file.read()))
    return context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)


def _set_clock():
    """Certificates are good for a time, so the time must be known; OSError when it is not."""
    if net.ntp_host == "":
        raise OSError("the clock is not set, and ntp_host names nobody to ask")
    try:
        import ntptime

        if net.ntp_host:
            ntptime.host = net.ntp_host
        ntptime.settime()
    except (ImportError, OSError) as error:
        raise OSError("the clock is not set, and NTP did not answer: %s" % error)


def _der(data):
    begin = data.find(b"-----BEGIN CERTIFICATE-----")
    if begin < 0:
        return data
    return binascii.a2b_base64(data[begin + 27 : data.find(b"-----END", begin)])
