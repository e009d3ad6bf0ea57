"""Use TLS, always verified against the configured certificate authority."""

import binascii
import time

import tls
from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_YEAR = const(2025)  # an earlier time means that the clock was never set
_AROUND = const(b" \t\r\n\xef\xbb\xbf")  # around a line; editors begin a file with the last three


def wrap(raw, host, ca, own=None):
    """Start TLS as a client on `raw`, which is connected and non-blocking.

    `ca` is the path of one certificate in DER, or of any number in PEM, all of which are trusted.
    `own` has the paths of the board's own `cert` and `key`, or is None. The handshake runs in the
    first read or write. It fails if the certificate is from another authority, is for another
    name, or has expired. Raises `OtaError` for an invalid file.
    """
    if time.gmtime()[0] < _YEAR:
        once("clock").set_by_ntp()
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    _each(ca, context.load_verify_locations)
    if own and own["cert"]:
        once("client_certificate").load(context, own, _each)
    return context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)


def _each(path, take):
    """Pass each certificate of the file to a separate call: not every port accepts PEM."""
    count = 0
    block = None
    try:
        with open(path, "rb") as file:
            for line in file:
                line = line.strip(_AROUND)
                if line[-16:] == b"CERTIFICATE-----":
                    begins = line[:11] == b"-----BEGIN "
                    count += begins
                    # Each is valid or an error: none may be skipped silently.
                    if begins is not (block is None):
                        raise ValueError
                    if block is not None:
                        take(binascii.a2b_base64(block))
                    block = b"" if begins else None
                elif block is not None:
                    block += line
            if block is not None:
                raise ValueError
            if not count:
                count = 1
                file.seek(0)
                take(file.read())
    except OSError:
        raise OtaError(_FAILED, "cannot read a certificate from " + path)
    except ValueError:
        raise OtaError(_FAILED, "certificate %d of %s is damaged" % (count, path))
