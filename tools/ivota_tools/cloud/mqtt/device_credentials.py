"""Whether a device's sign-in is right, by the vendor's rule.

A device signs in with client id `{product_id}{device_name}`, the user name
`{client id};{SDK's id};{5 characters};{expiry}` and the password `{HMAC};hmacsha256`, or
hmacsha1: in hex, of the user name under the device's secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable

from sqlalchemy import and_, or_, select

from ..store.database import Database
from ..store.models import Device
from .protocol import NAME_MOST

EXPIRY_MOST = 40  # characters that are looked at
METHODS = {"hmacsha256": "sha256", "hmacsha1": "sha1"}

Authenticate = Callable[[str, str, str], "str | None"]


def is_signed(client_id: str, user: str, password: str, secret: str, now: float) -> bool:
    """Whether this user name and password are the vendor's for a device with this secret."""
    parts = user.split(";")
    digest, _, method = password.partition(";")
    if len(parts) != 4 or parts[0] != client_id or method not in METHODS:
        return False
    if _expired(parts[3], now):
        return False
    try:
        key = base64.b64decode(secret)
    except (binascii.Error, ValueError):
        return False
    right = hmac.new(key, user.encode(), METHODS[method]).hexdigest()
    return hmac.compare_digest(digest.lower().encode(), right.encode())


def _expired(expiry: str, now: float) -> bool:
    """Whether its time has passed. SDKs write what they like: the largest number, or no number."""
    try:
        return float(expiry[:EXPIRY_MOST]) <= now
    except ValueError:
        return False  # signed by the device all the same


def by_database(database: Database) -> Authenticate:
    """(client id, user name, password) -> PRODUCT/NAME, or None."""

    def check(client_id: str, user: str, password: str) -> str | None:
        if not 2 <= len(client_id) <= 2 * NAME_MOST or not client_id.isprintable():
            return None
        # Where the product ends and the name begins cannot be seen from the client id: each place
        # is looked up, which is still one look into an index.
        ends = range(max(1, len(client_id) - NAME_MOST), min(len(client_id) - 1, NAME_MOST) + 1)
        query = select(Device.product_id, Device.device_name, Device.secret).where(
            or_(
                *(
                    and_(
                        Device.product_id == client_id[:end], Device.device_name == client_id[end:]
                    )
                    for end in ends
                )
            ),
            Device.secret.is_not(None),
        )
        with database.reading() as session:
            found = session.execute(query).tuples().all()
        for product_id, device_name, secret in found:
            if is_signed(client_id, user, password, secret or "", time.time()):
                return f"{product_id}/{device_name}"
        return None

    return check
