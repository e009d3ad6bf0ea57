"""Create, store and load the RSA-3072 keys for signing firmware.

The private key is PKCS #8 in PEM. The public key is a SubjectPublicKeyInfo in DER, which always
has 422 bytes: a board finds the modulus in it without a parser.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from .bundle import ReleaseError

BITS = 3072
_EXPONENT = 65537
_SUFFIX = ".pub"


@dataclass(frozen=True)
class PublicKey:
    """A public key; `der` is the file on a board."""

    der: bytes

    @property
    def id(self) -> str:
        """The key's id: the first 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self.der).hexdigest()[:16]

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Return whether this key made the signature of these bytes."""
        key = load_der_public_key(self.der)
        assert isinstance(key, RSAPublicKey)
        try:
            key.verify(signature, data, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """Sign bytes; the same bytes always get the same signature."""

    key: RSAPrivateKey

    @property
    def public(self) -> PublicKey:
        return _public(self.key.public_key(), "the key")

    def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, PKCS1v15(), hashes.SHA256())


def generate(path: Path, passphrase: str | None) -> Path:
    """Create a key pair: the private key in `path`, readable only by its owner, and a public key.

    Returns the public key's path. The private key is encrypted unless `passphrase` is None. Raises
    ReleaseError if one of the files exists: an overwritten key would be lost.
    """
    if passphrase == "":
        raise ReleaseError("the passphrase is empty: use --no-passphrase for an unencrypted key")
    public = path.with_name(path.stem + _SUFFIX)
    for each in (path, public):
        if each.exists():
            raise ReleaseError(
                f"{each} already exists, and `ivota keygen` never overwrites a key: "
                "choose another name"
            )
    if public == path:
        raise ReleaseError(f"{path} is the name of a public key: choose a name without {_SUFFIX}")
    key = PrivateKey(generate_private_key(_EXPONENT, BITS))
    encryption = (
        NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        public.write_bytes(key.public.der)
    except OSError as error:
        raise ReleaseError(f"cannot write {error.filename}: {error.strerror}") from None
    return public


def load_private(path: Path, ask: Callable[[], str]) -> PrivateKey:
    """Load a private key; `ask` returns its passphrase. Raises ReleaseError."""
    return parse_private(_read(path), str(path), ask)


def parse_private(data: bytes, what: str, ask: Callable[[], str]) -> PrivateKey:
    """Return the private key in PEM; errors call it `what`. Raises ReleaseError."""
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:  # encrypted
            # An empty passphrase would count as none, so replace it by a wrong one.
            key = load_pem_private_key(data, ask().encode() or b"\0")
    except (ValueError, UnsupportedAlgorithm):
        raise ReleaseError(
            f"{what} is not a private key in PEM, or the passphrase is wrong: specify the private "
            "key that `ivota keygen` created, not the public key"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise ReleaseError(f"{what}: {_WANTED}")
    _public(key.public_key(), what)
    return PrivateKey(key)


def load_public(path: Path) -> PublicKey:
    """Load a public key in DER or PEM. Raises ReleaseError."""
    data = _read(path)
    try:
        pem = data.lstrip().startswith(b"-----BEGIN")
        key = load_pem_public_key(data) if pem else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ReleaseError(f"{path} is not a public key: create one with `ivota keygen`") from None
    return _public(key, str(path))


_WANTED = f"boards support only RSA keys with {BITS} bits and the exponent {_EXPONENT}"


def _public(key: object, what: str) -> PublicKey:
    if (
        not isinstance(key, RSAPublicKey)
        or key.key_size != BITS
        or key.public_numbers().e != _EXPONENT
    ):
        raise ReleaseError(f"{what}: {_WANTED}")
    return PublicKey(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"cannot read {path}: {error.strerror}") from None
