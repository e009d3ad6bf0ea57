"""Connect to an object store that speaks S3, and put its errors into words.

Endpoint, region and credentials come from where every tool of AWS looks for them: environment
variables, the shared configuration files, or the role of the machine.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..cloud_error import CloudError
from .file_store import StoreError

CONNECT_S, READ_S = 5, 20
TRIES = 3
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
ACTIONS = "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
_DENIED = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")
_WRONG = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthFailure")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_REGION = (
    "PermanentRedirect",
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)
MISSING = ("NoSuchKey", "404", "NotFound")


class Misconfigured(StoreError):
    """The store cannot work until an operator changes something."""


class Place(NamedTuple):
    """Where the files are: all keys begin with `prefix`, which ends in a slash or is empty."""

    bucket: str
    prefix: str

    @classmethod
    def read(cls, url: str) -> Place:
        """Parse s3://bucket/prefix. Raises CloudError."""
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.rstrip("/")
        steps = prefix.split("/")
        good = not prefix or PREFIX.fullmatch(prefix) and not {".", ".."} & set(steps)
        if scheme != "s3" or not BUCKET.fullmatch(bucket) or not good or len(url) > 240:
            raise CloudError(
                f"the store {url!r} is not valid: use s3://BUCKET/PREFIX, with letters, digits, "
                "dots, - and _ in the prefix"
            )
        return cls(bucket, f"{prefix}/" if prefix else "")

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def session() -> Any:
    """Return a session of boto3. Raises CloudError."""
    try:
        import boto3
        import botocore.exceptions
    except ImportError:
        raise CloudError(
            "an object store needs a library that is not installed: pip install boto3"
        ) from None
    try:
        return boto3.session.Session()
    except botocore.exceptions.BotoCoreError as error:  # for example an unknown profile
        raise CloudError(f"cannot use the configuration of the object store: {error}") from None


def client(session: Any, **credentials: Any) -> Any:
    """Return a client that never waits long. Raises CloudError."""
    import botocore.exceptions
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=20,
        # Stores of other makers do not know the newer checksums; Content-MD5 they all do.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return session.client("s3", config=config, **credentials)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise CloudError(f"cannot use the configuration of the object store: {error}") from None


@contextlib.contextmanager
def words(place: Place, what: str) -> Iterator[None]:
    """Turn the library's errors into StoreError, or FileNotFoundError for a missing file.

    `what` completes "cannot …".
    """
    from botocore import exceptions as wrong

    try:
        yield
    except wrong.ClientError as error:
        raise _answer(error, place, what) from None
    except (wrong.NoCredentialsError, wrong.PartialCredentialsError):
        raise Misconfigured(
            f"no credentials for {place.url}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give this machine a role"
        ) from None
    except wrong.CredentialRetrievalError as error:
        raise StoreError(f"cannot get credentials for {place.url}: {_line(error)}") from None
    except (wrong.ParamValidationError, wrong.NoRegionError) as error:
        raise Misconfigured(f"cannot {what}: {_line(error)}") from None
    except (wrong.BotoCoreError, wrong.HTTPClientError) as error:
        raise StoreError(
            f"cannot {what}: the request to the store failed ({_line(error)})"
        ) from None


def _answer(error: Any, place: Place, what: str) -> OSError:
    found = error.response.get("Error", {})
    code, said = str(found.get("Code", "")), str(found.get("Message", ""))
    if code == "NoSuchBucket":
        return Misconfigured(f"the bucket {place.bucket} does not exist")
    if code in MISSING:
        return FileNotFoundError(2, f"the file is missing from {place.url}")
    if code in _DENIED:
        return Misconfigured(f"cannot {what}: access to {place.url} is denied; allow {ACTIONS}")
    if code in _EXPIRED:
        return StoreError(f"cannot {what}: the credentials for {place.url} have expired")
    if code in _WRONG:
        return Misconfigured(
            f"cannot {what}: {place.url} does not accept the credentials ({code})"
        )
    if code in _REGION:
        return Misconfigured(
            f"the bucket {place.bucket} is in another region: set AWS_DEFAULT_REGION"
        )
    return StoreError(
        f"cannot {what}: {place.url} returned {code}: {' '.join(said.split())[:200]}"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
