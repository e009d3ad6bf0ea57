"""Verify a device's sign-in in the vendor's format.

A device signs in with client id `{product_id}{device_name}`, the user name
`{client id};{SDK's id};{5 characters};{expiry}` and the password `{HMAC};hmacsha256`, or
hmacsha1: in hex, of the user name under the device's secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ..store.database import Database, access, next_revision, revoke
from ..store.device_acceptance import ACCEPTED, RETIRED
from ..store.models import Device
from .device_certificates import DeviceCertificates, is_certificate
from .messages import NAME_MOST

EXPIRY_MOST = 40  # maximum number of characters checked
METHODS = {"hmacsha256": "sha256", "hmacsha1": "sha1"}

SECRET_LEAST, SECRET_MOST = 16, 192  # bytes: 128 bits cannot be guessed


class SecretError(ValueError):
    """This secret is not valid for the device."""


def is_signed(client_id: str, user: str, password: str, secret: str, now: float) -> bool:
    """Verify a user name and password against a device's secret."""
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
    """Return whether a sign-in has expired. SDKs may write a huge expiry, or not a number."""
    try:
        return float(expiry[:EXPIRY_MOST]) <= now
    except ValueError:
        return False  # the signature is still the device's


def set_secret(session: Session, device: Device, secret: str | None) -> None:
    """Set or remove (None) a device's secret, in base64; a change closes its connection.

    Raises SecretError.
    """
    if secret is not None:
        try:
            size = len(base64.b64decode(secret, validate=True))
        except (binascii.Error, ValueError):
            raise SecretError(
                "the secret is not valid base64: create one with `openssl rand -base64 16`"
            ) from None
        if not SECRET_LEAST <= size <= SECRET_MOST:
            raise SecretError(
                f"a secret must have {SECRET_LEAST} to {SECRET_MOST} bytes, not {size}: "
                "create one with `openssl rand -base64 16`"
            )
        if ";" in device.name:
            raise SecretError(
                f"{device.name!r} contains a semicolon, which separates fields in a sign-in: this "
                "device can never sign in"
            )
    device.secret = secret
    device.revision = next_revision(session)
    revoke(session)


Link = tuple[str, str]  # PRODUCT/NAME, and the mark of the proof


class Known(NamedTuple):
    """A device that may sign in: PRODUCT/NAME, the mark of its proof, and its secret decoded."""

    name: str
    mark: str
    key: bytes


class Credentials:
    """Look up the devices' secrets in the database; `certificates` knows client certificates."""

    def __init__(self, database: Database, certificates: DeviceCertificates | None = None) -> None:
        self._database = database
        self.certificates = certificates

    def check(self, client_id: str, user: str, password: str) -> tuple[str, str] | None:
        """Return (PRODUCT/NAME, mark of the secret) for a sign-in."""
        for product_id, device_name, secret in self._find(client_id):
            if is_signed(client_id, user, password, secret, time.time()):
                return f"{product_id}/{device_name}", _mark(secret)
        return None

    def names(self, client_id: str) -> list[tuple[str, str]]:
        """Return (product id, device name) of the devices that may sign in with a client id."""
        return [(product_id, name) for product_id, name, _ in self._find(client_id)]

    def known(self, client_id: str) -> Known | None:
        """Return the device with this client id; None if it has no secret or is ambiguous."""
        found = self._find(client_id)
        if len(found) != 1:
            return None
        product_id, device_name, secret = found[0]
        try:
            key = base64.b64decode(secret)
        except (binascii.Error, ValueError):
            return None
        return Known(f"{product_id}/{device_name}", _mark(secret), key)

    def holder(self, der: bytes) -> Known | None:
        """Return the owner of a certificate that TLS verified; None if it may not sign in."""
        found = self.certificates.holder(der) if self.certificates else None
        return found and Known(f"{found.product_id}/{found.device_name}", found.mark, b"")

    def _find(self, client_id: str) -> Sequence[tuple[str, str, str]]:
        """Return (product id, device name, secret) of each device that this client id can name."""
        if not 2 <= len(client_id) <= 2 * NAME_MOST or not client_id.isprintable():
            return []
        # The client id does not show where the product id ends and the name begins: look up each
        # possibility, in one query of an index. It is written as text, because anybody can ask for
        # it: SQLAlchemy's expressions of 127 possibilities would cost four times the CPU.
        ends = range(max(1, len(client_id) - NAME_MOST), min(len(client_id) - 1, NAME_MOST) + 1)
        either = " OR ".join(f"product_id = :p{end} AND device_name = :n{end}" for end in ends)
        query = text(
            "SELECT product_id, device_name, secret FROM devices "
            f"WHERE secret IS NOT NULL AND status = :status AND ({either})"
        )
        words = {"status": ACCEPTED}
        words |= {f"p{end}": client_id[:end] for end in ends}
        words |= {f"n{end}": client_id[end:] for end in ends}
        with self._database.reading() as session:
            found = session.execute(query, words).all()
        return [(product_id, name, secret) for product_id, name, secret in found]

    def access(self) -> object:
        """Return a value that changes whenever a device loses a permission."""
        with self._database.reading() as session:
            return access(session), self.certificates and self.certificates.stamp()

    def still(self, links: Collection[Link]) -> set[Link]:
        """Return those that are still allowed."""
        marks = self.marks([name for name, mark in links if not is_certificate(mark)])
        held = [link for link in links if is_certificate(link[1])]
        retired = self._retired({name for name, _ in held})
        good = {link for link in links if marks.get(link[0]) == link[1]}
        if self.certificates:
            good |= {
                link
                for link in held
                if link[0] not in retired and self.certificates.is_good(link[1])
            }
        return good

    def _retired(self, names: Collection[str]) -> set[str]:
        if not names:
            return set()
        query = select(Device.product_id, Device.device_name).where(Device.status == RETIRED)
        with self._database.reading() as session:
            return {"/".join(each) for each in session.execute(query).tuples()} & set(names)

    def marks(self, names: Sequence[str]) -> dict[str, str]:
        """Return the fingerprints of the secrets of these devices, if they may sign in now."""
        found = {}
        for at in range(0, len(names), NAMES_MOST):
            some = names[at : at + NAMES_MOST]
            query = select(Device.product_id, Device.device_name, Device.secret).where(
                (Device.product_id + "/" + Device.device_name).in_(some),
                Device.device_name.in_([each.partition("/")[2] for each in some]),
                *_MAY,
            )
            with self._database.reading() as session:
                for product_id, device_name, secret in session.execute(query).tuples():
                    found[f"{product_id}/{device_name}"] = _mark(secret)
        return found


NAMES_MOST = 500  # per database query
_MAY = (Device.secret.is_not(None), Device.status == ACCEPTED)


def _mark(secret: str | None) -> str:
    return hashlib.sha256((secret or "").encode()).hexdigest()
