"""Compute the sign-in to a vendor's cloud from the device's secret (docs/protocol.md)."""

import binascii
import hashlib
import time

from ivota import once

_APP = "12010126"  # sdkappid of MicroPython-class devices
_DAYS = 30 * 86400
_LAST = 0x7FFFFFFF  # which SDKs use without a clock


def hmac(key, message, digest=hashlib.sha256):
    """Compute an HMAC (RFC 2104) as hexadecimal text; MicroPython has no module `hmac`."""
    if len(key) > 64:
        key = digest(key).digest()
    key += bytes(64 - len(key))
    inner = digest(bytes(b ^ 0x36 for b in key))
    inner.update(message)
    outer = digest(bytes(b ^ 0x5C for b in key))
    outer.update(inner.digest())
    return binascii.hexlify(outer.digest()).decode()


def sign_in(config, connection="", expiry=None, method="sha256"):
    """Return (client id, user name, password) for one connection; a dialect can override this.

    The configuration's `device_secret` is base64; `connection` is 5 characters that identify this
    connection; `expiry` is in seconds since 1970, or None for a month ahead.
    """
    if config["dialect"] != "tencent":
        return once(config["dialect"]).sign_in(config)
    client_id = config["product_id"] + config["device_name"]
    if not connection:
        connection = "%05d" % (time.ticks_ms() % 100000)
    if expiry is None:
        now = once("clock").unix_time()
        expiry = _LAST if now is None else now + _DAYS
    user = "%s;%s;%s;%d" % (client_id, _APP, connection, expiry)
    digest = hashlib.sha1 if method == "sha1" else hashlib.sha256
    password = hmac(binascii.a2b_base64(config["device_secret"]), user.encode(), digest)
    return client_id, user, "%s;hmac%s" % (password, method)
