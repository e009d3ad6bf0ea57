"""Let devices sign in with certificates: an authority for each product, and revocation lists.

The authority determines the product of a device, and the common name of its certificate determines
the device's name.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from ..cloud_error import CloudError
from .messages import NAME_MOST

log = logging.getLogger("ivota.cloud")

Stamp = tuple[tuple[int, int], ...]  # modification time and size of each file


class Holder(NamedTuple):
    """The device that a certificate belongs to, and a mark of the certificate."""

    product_id: str
    device_name: str
    mark: str


class DeviceCertificates:
    """`authorities`: a PEM file for each product; `revoked`: PEM files of revocation lists (CRLs).

    A list is reloaded when its file changes. Raises CloudError.
    """

    def __init__(self, authorities: Mapping[str, Path], revoked: Sequence[Path] = ()) -> None:
        self.files = list(authorities.values())
        self._authorities = {
            product: _certificates(path, product) for product, path in authorities.items()
        }
        self._lists = list(revoked)
        self._lock = threading.Lock()
        self._stamp: Stamp = ()
        self._revoked: frozenset[str] = frozenset()
        self._read(self._now())

    def trust(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Make a server's context request certificates; clients without one are also served."""
        for path in self.files:
            context.load_verify_locations(path)
        context.verify_mode = ssl.CERT_OPTIONAL
        # An intermediate authority is enough: its root may have signed others, too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def holder(self, der: bytes) -> Holder | None:
        """Return the owner of a certificate that TLS verified; None if it names no device or is
        revoked.
        """
        found = x509.load_der_x509_certificate(der)
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value) if len(names) == 1 else ""
        if not 0 < len(name) <= NAME_MOST or not name.isprintable() or set(name) & set("+#;"):
            return None
        for product, authorities in self._authorities.items():
            for authority in authorities:
                if _is_by(found, authority):
                    holder = Holder(product, name, _mark(authority, found.serial_number))
                    return holder if self.is_good(holder.mark) else None
        return None

    def is_good(self, mark: str) -> bool:
        """Return whether the certificate is still not revoked."""
        now = self._now()
        with self._lock:
            if now != self._stamp:
                try:
                    self._read(now)
                except CloudError as error:
                    # For example while the file is being written.
                    log.error("%s: still using the previous revocation list", error)
            return mark not in self._revoked

    def stamp(self) -> Stamp:
        """Return a number that changes whenever a list may have changed."""
        return self._now()

    def _now(self) -> Stamp:
        found = []
        for path in self._lists:
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((0, 0))
        return tuple(found)

    def _read(self, stamp: Stamp) -> None:
        revoked = set()
        for path in self._lists:
            try:
                given = x509.load_pem_x509_crl(path.read_bytes())
            except (OSError, ValueError) as error:
                raise CloudError(f"{path} is not a revocation list ({error})") from None
            by = [each for all_of in self._authorities.values() for each in all_of]
            by = [each for each in by if _signed(given, each)]
            if not by:
                raise CloudError(f"{path} is not signed by any --device-ca")
            revoked |= {_mark(by[0], each.serial_number) for each in given}
        self._stamp, self._revoked = stamp, frozenset(revoked)


def _certificates(path: Path, product: str) -> list[x509.Certificate]:
    if not 0 < len(product) <= NAME_MOST or set(product) & set("+#/;"):
        raise CloudError(
            f"--device-ca {product!r} is not a valid product: use PRODUCT=FILE, with a PRODUCT "
            f"of 1 to {NAME_MOST} characters without +, #, / or ;"
        )
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CloudError(f"--device-ca {path} contains no certificate ({error})") from None


def _is_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(given: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        key = authority.public_key()
        return given.issuer == authority.subject and given.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def is_certificate(mark: str) -> bool:
    """Return whether a mark is that of a certificate; other marks are of secrets."""
    return mark.startswith("certificate ")


def _mark(authority: x509.Certificate, serial: int) -> str:
    by = hashlib.sha256(authority.subject.public_bytes()).hexdigest()[:16]
    return f"certificate {by} {serial}"
