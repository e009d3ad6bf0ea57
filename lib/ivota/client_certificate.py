"""Load the board's own certificate, for servers that require one."""

import binascii

from micropython import const

from ivota import OtaError

_FAILED = const(-5)


def check(name, part, error):
    """Raise `error` unless this section of the configuration has both files or none."""
    if not part["cert"] or not part["key"]:
        raise error("%s.cert and %s.key belong together: set both" % (name, name))


def load(context, own, each):
    """Load the certificates and the private key from the files in `own` into `context`.

    The board's certificate comes first, then those of the authorities on the way to the one that
    the server trusts. `each(path, take)` calls `take` with each certificate of a file. The key is
    in DER or PEM, without a password. Raises `OtaError`.
    """
    try:
        with open(own["key"], "rb") as file:
            key = _der(file.read())
    except OSError:
        raise OtaError(_FAILED, "cannot read a key from " + own["key"])

    def take(certificate):
        for _ in range(2):
            try:
                return context.load_cert_chain(certificate, key)
            except ValueError:
                # The context adds each certificate to the previous ones. But it refuses a key in
                # PKCS #8 if it already has a key, and drops that one: the second call works.
                pass
        raise OtaError(
            _FAILED, "%s is not the key of %s, or one file is damaged" % (own["key"], own["cert"])
        )

    each(own["cert"], take)


def _der(data):
    """Return the private key in DER from PEM, which may have other blocks, or from DER."""
    begin = data.find(b"-----BEGIN ")
    while begin >= 0:
        line = data.find(b"\n", begin)
        if b"PRIVATE KEY" in data[begin:line]:
            return binascii.a2b_base64(data[line : data.find(b"-----END ", line)])
        begin = data.find(b"-----BEGIN ", line)
    return data
