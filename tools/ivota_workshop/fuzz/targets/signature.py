"""The footer, header length and signature of firmware, before any of its fields is trusted.

The seeds are the cases of tests_host/device/signed.py, signed with real keys.
"""

import importlib.util
import struct
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ivota_tools.common.project_files import CHECKOUT

from ..target import Mistake, Target


@cache
def cases() -> Any:
    """Return the cases of tests_host/device/signed.py."""
    path = CHECKOUT / "tests_host" / "device" / "signed.py"
    spec = importlib.util.spec_from_file_location("signed_cases", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeds() -> dict[str, bytes]:
    signed = cases()
    found = {}
    for name, (_, header, signature) in signed.CASES.items():
        end = header + signed.a2b_base64(signature) + signed.footer(len(header))
        found[f"case-{name}".replace(" ", "-")] = end
    found["good"] = found.pop("case-good")
    found["good-but-too-long"] = found.pop("case-too-long")
    good = found["good"]
    return found | {
        "good-with-a-payload": b"payload" + good,
        "cut-in-front": good[1:],
        "footer-alone": good[-12:],
        "lengths-largest": good[:-12] + b"\xff" * 4 + good[-8:],
        "lengths-zero": good[:-12] + bytes(4) + good[-8:],
        "length-of-513": bytes(600) + good[:-12] + struct.pack("<HH", 513, 384) + good[-8:],
        "magic-alone": b"IVOTASIG",
        "signature-zero": good[:-396] + bytes(384) + good[-12:],
        "signature-ones": good[:-396] + b"\xff" * 384 + good[-12:],
        "twice": good + good,
        "nothing": b"",
    }


@cache
def _key(der: bytes) -> RSAPublicKey:
    key = load_der_public_key(der)
    assert isinstance(key, RSAPublicKey)
    return key


def reference(data: bytes, der: bytes | None = None) -> bytes | None:
    """Return the header that the key's owner has signed, verified by `cryptography`."""
    if len(data) < 12 or data[-8:] != b"IVOTASIG":
        return None
    header_size, signature_size = struct.unpack("<HH", data[-12:-8])
    start = len(data) - 12 - signature_size - header_size
    if signature_size != 384 or not 0 < header_size <= 512 or start < 0:
        return None
    header = data[start : start + header_size]
    try:
        _key(der or cases().KEYS["owner"]).verify(
            data[-396:-12], header, PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return None
    return header


TARGET = Target(
    about="footer and signature of firmware",
    code=("lib/ivota/signature_footer.py", "lib/ivota/owner_signature.py"),
    seeds=seeds,
    reference=reference,
    files=lambda: {"owner.pub": cases().KEYS["owner"]},
    most=1400,
    words=("IVOTASIG", "\\x80\\x01IVOTASIG"),
    mistakes=(
        Mistake(
            "does not compare the digest",
            (
                (
                    "lib/ivota/owner_signature.py",
                    'to_bytes(_SIGNATURE, "big")\n',
                    'to_bytes(_SIGNATURE, "big")[:352] + digest\n',
                ),
            ),
        ),
        Mistake(
            "accepts a header of any length",
            (("lib/ivota/signature_footer.py", "not 0 < length <= _HEADER", "not length"),),
        ),
    ),
)
