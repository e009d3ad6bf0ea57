"""Create URLs from which devices download: of an object store, or of a CDN in front of it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

from ..cloud_error import CloudError
from . import s3_connection
from .file_store import StoreError, file_name
from .s3_connection import Place

log = logging.getLogger("ivota.cloud")

SECONDS_MOST = 7 * 86400  # of a URL that is signed with Signature Version 4


class Links(Protocol):
    """Makes URLs without any wait."""

    def link(self, sha256: str, seconds: float) -> str | None:
        """Return a URL that is valid for a time, or None if none can be made now."""

    def refresh(self) -> None:
        """Get what the next URLs need; this may wait. Raises StoreError."""


class NoLinks:
    """Devices download through the cloud."""

    def link(self, sha256: str, seconds: float) -> str | None:
        return None

    def refresh(self) -> None:
        return


class PresignedLinks:
    """URLs that the store itself checks, signed with the cloud's credentials.

    Temporary credentials are fetched in `refresh`, never while a URL is made.
    """

    def __init__(self, session: Any, place: Place) -> None:
        self._session, self._place = session, place
        self._frozen: Any = None
        self._client: Any = None

    def refresh(self) -> None:
        try:
            with s3_connection.words(self._place, "sign URLs"):
                found = self._session.get_credentials()
                frozen = found and found.get_frozen_credentials()
        except StoreError:
            self._client = self._frozen = None
            raise
        if frozen is None:
            self._client = self._frozen = None
            return
        if frozen != self._frozen:
            self._client = s3_connection.client(
                self._session,
                aws_access_key_id=frozen.access_key,
                aws_secret_access_key=frozen.secret_key,
                aws_session_token=frozen.token,
            )
            self._frozen = frozen

    def link(self, sha256: str, seconds: float) -> str | None:
        client = self._client
        if client is None:
            return None
        where = {"Bucket": self._place.bucket, "Key": self._place.prefix + file_name(sha256)}
        try:
            url = client.generate_presigned_url(
                "get_object", Params=where, ExpiresIn=min(int(seconds), SECONDS_MOST)
            )
        except Exception as error:
            log.error("cannot sign a URL for %s: %s", self._place.url, error)
            return None
        return str(url)


class CdnLinks:
    """URLs of a CDN; with a key, signed as CloudFront does.

    Without one, anyone who knows a URL can download the file at any time.
    """

    def __init__(self, base: str, key_id: str | None = None, key: bytes | None = None) -> None:
        self._base = base.rstrip("/")
        self._signer = _cloudfront(key_id, key) if key_id and key else None

    def refresh(self) -> None:
        return

    def link(self, sha256: str, seconds: float) -> str | None:
        url = f"{self._base}/{file_name(sha256)}"
        if self._signer is None:
            return url
        until = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        return str(self._signer.generate_presigned_url(url, date_less_than=until))


def _cloudfront(key_id: str, pem: bytes) -> Any:
    from botocore.signers import CloudFrontSigner
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise CloudError("--store-key-file must contain an RSA private key (PEM)") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CloudError("--store-key-file must contain an RSA private key (PEM)")

    def sign(message: bytes) -> bytes:
        return key.sign(message, padding.PKCS1v15(), hashes.SHA1())  # what CloudFront checks

    return CloudFrontSigner(key_id, sign)
