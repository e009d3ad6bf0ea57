"""The device's secret in base64, and names of any kind."""

import base64
import binascii

from ivota_tools.cloud.mqtt.device_sign_in import is_signed

from ..target import Mistake, Target


def seeds() -> dict[str, bytes]:
    good = base64.b64encode(b"a secret of some length")
    return {
        "good": b"d\n" + good,
        "good-64-bytes": b"d\n" + base64.b64encode(bytes(range(64))),
        "good-65-bytes": b"d\n" + base64.b64encode(bytes(range(65))),
        "good-empty": b"d\n",
        "name-with-semicolons": b"d;1;2\n" + good,
        "name-not-ascii": "d\u00e4\n".encode() + good,
        "name-nul": b"d\0\n" + good,
        "not-base64": b"d\n!!!!",
        "not-padded": b"d\nYWJj" + b"Zg",
        "padding-alone": b"d\n====",
        "padding-inside": b"d\nYW==JjZA==",
        "blanks": b"d\n YW Jj\n",
        "not-ascii": "d\n\u00e4\u00f6".encode(),
        "url-safe": b"d\n-_-_",
        "long": b"d\n" + b"QUJD" * 900,
        "nul": b"d\n\0\0\0\0",
        "surrogate": b"d\n\xed\xa0\x80",
    }


def reference(client_id: str, user: str, password: str, secret: str) -> bool:
    """Return the result of the cloud's own check, or True if the secret itself is invalid."""
    try:
        base64.b64decode(secret)
    except (binascii.Error, ValueError):
        return True
    # A name with a semicolon could pass for another device's: the cloud rejects it.
    return ";" in client_id or is_signed(client_id, user, password, secret, 1_000_000_000)


TARGET = Target(
    about="the device's secret and the sign-in",
    code=("lib/ivota/cloud_sign_in.py",),
    seeds=seeds,
    reference=reference,
    words=("==", "YWJj", "\\x0a"),
    mistakes=(
        Mistake(
            "truncates a long key",
            (("lib/ivota/cloud_sign_in.py", "key = digest(key).digest()", "key = key[:64]"),),
        ),
        Mistake(
            "accepts more than one padding",
            (("lib/ivota/cloud_sign_in.py", "0x5C", "0x5D"),),
        ),
    ),
)
