"""Sign in to the vendor's cloud (docs/protocol.md)."""

import binascii
import hashlib
import time

from ivota import once

_APP = "12010126"  # sdkappid of MicroPython-class devices
_DAYS = 30 * 86400
_YEAR = 2025  # an earlier time means that the clock was never set
_LAST = 0x7FFFFFFF  # written by SDKs without a clock


def hmac(key, message, digest=hashlib.sha256):
    """Compute RFC 2104 over 64-byte blocks as hexadecimal text; MicroPython has no `hmac`."""
    if len(key) > 64:
        key = digest(key).digest()
    key += bytes(64 - len(key))
    inner = digest(bytes(b ^ 0x36 for b in key))
    inner.update(message)
    outer = digest(bytes(b ^ 0x5C for b in key))
    outer.update(inner.digest())
    return binascii.hexlify(outer.digest()).decode()


def sign_in(config, connection="", expiry=None, method="sha256"):
    """Return (client id, user name, password) for one connection; dialects can have their own.

    The configuration's `device_secret` is base64; `connection` is 5 characters that identify this
    connection; `expiry` is in seconds since 1970, or None for a month ahead.
    """
    if config["dialect"] != "tencent":
        return once(config["dialect"]).sign_in(config)
    client_id = config["product_id"] + config["device_name"]
    if not connection:
        connection = "%05d" % (time.ticks_ms() % 100000)
    if expiry is None:
        expiry = _LAST if time.gmtime()[0] < _YEAR else _unix_time() + _DAYS
    user = "%s;%s;%s;%d" % (client_id, _APP, connection, expiry)
    digest = hashlib.sha1 if method == "sha1" else hashlib.sha256
    password = hmac(binascii.a2b_base64(config["device_secret"]), user.encode(), digest)
    return client_id, user, "%s;hmac%s" % (password, method)


def _unix_time():
    # Boards count from 2000; the unix port and CPython count from 1970.
    return int(time.time()) + (946684800 if time.gmtime(0)[0] == 2000 else 0)
