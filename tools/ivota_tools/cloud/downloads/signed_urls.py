"""Create and verify pre-signed download URLs, which expire and cannot be forged."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

EXPIRES_MOST = 12  # digits


class DownloadUrl(NamedTuple):
    """Where a device can download a firmware; `elsewhere`: this cloud sees no request."""

    url: str
    elsewhere: bool


def signature(secret: bytes, firmware_id: int, expires: int) -> str:
    """Compute the signature with `secret`; `expires` is in Unix seconds."""
    signed = f"/files/{firmware_id}\n{expires}".encode()
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()


def make_url(base: str, secret: bytes, firmware_id: int, expires: int) -> str:
    sign = signature(secret, firmware_id, expires)
    return f"{base}/files/{firmware_id}?expires={expires}&sign={sign}"


def is_valid(secret: bytes, firmware_id: int, expires: str, sign: str, now: float) -> bool:
    """Verify a signature in constant time; return False if it is invalid or expired."""
    if not (expires.isascii() and expires.isdigit() and len(expires) <= EXPIRES_MOST):
        return False
    right = signature(secret, firmware_id, int(expires))
    return hmac.compare_digest(sign.encode(errors="replace"), right.encode()) and now < int(
        expires
    )
