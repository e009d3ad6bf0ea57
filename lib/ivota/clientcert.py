"""The board's own certificate, for servers that ask for one."""

import binascii

from micropython import const

from ivota import OtaError

_FAILED = const(-5)


def check(name, part, error):
    """Raise `error` unless this part of the configuration names both files."""
    if not part["cert"] or not part["key"]:
        raise error("%s.cert and %s.key belong together: name both" % (name, name))


def load(context, own):
    """Give `context` what is in the files that `own` names: a certificate and its private key.

    In DER or PEM, one certificate, the key without a password. Raises `OtaError`.
    """
    path = None
    try:
        parts = []
        for path in own["cert"], own["key"]:
            with open(path, "rb") as file:
                parts.append(_der(file.read()))
        context.load_cert_chain(*parts)
    except OSError:
        raise OtaError(_FAILED, "no certificate or key can be read at " + path)
    except ValueError:
        raise OtaError(
            _FAILED, "%s is not the key of %s, or one is damaged" % (own["key"], own["cert"])
        )


def _der(data):
    begin = data.find(b"-----BEGIN ")
    # What openssl puts before a key on a curve says only which curve it is.
    while begin >= 0 and data[begin + 11 : begin + 24] == b"EC PARAMETERS":
        begin = data.find(b"-----BEGIN ", begin + 1)
    if begin < 0:
        return data
    begin = data.find(b"\n", begin)
    return binascii.a2b_base64(data[begin : data.find(b"-----END ", begin)])
