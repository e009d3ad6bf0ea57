"""Writes tests_host/device/signed.py: signed firmware, good and bad, for the device tests.

    .venv/bin/python tests_host/make_signed.py

New keys are made each time, and forgotten. cryptography signs what is well formed; blocks that no
signer makes are made with the private exponent.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OUT = Path(__file__).parent / "device" / "signed.py"
SIZE = 70_123  # bytes: more than one step digests, and no multiple of a chunk
SIGNATURE = 384
INFO = bytes.fromhex("3031300d060960864801650304020105000420")
INFO_WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
INFO_SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")

HEAD = '''"""Signed firmware, good and bad, as tests_host/make_signed.py has made it: do not edit.

Its keys have signed nothing else, and are trusted by nothing but these tests.
"""

from binascii import a2b_base64

SIZE = {size}  # bytes of each payload


def payload(head=b""):
    """What was signed: `head`, and bytes that look like nothing."""
    chunk = bytes((i * 7 + 1) & 0xFF for i in range(251))
    return (head + chunk * (SIZE // 251 + 1))[:SIZE]


def firmware(name):
    """The whole file of a case."""
    head, header, signature = CASES[name]
    return payload(head) + header + a2b_base64(signature) + footer(len(header))


def footer(header_size, signature_size=384, magic=b"IVOTASIG"):
    sizes = header_size.to_bytes(2, "little") + signature_size.to_bytes(2, "little")
    return sizes + magic

'''


def payload(head: bytes) -> bytes:
    chunk = bytes((i * 7 + 1) & 0xFF for i in range(251))
    return (head + chunk * (SIZE // 251 + 1))[:SIZE]


def header(head: bytes = b"", drop: str = "", **changes: Any) -> bytes:
    values = {
        "v": 1,
        "version": "0.2",
        "sequence": 7,
        "target": "t",
        "kind": "other",
        "size": SIZE,
        "sha256": hashlib.sha256(payload(head)).hexdigest(),
        "time": 0,
        "key": "0" * 16,
        **changes,
    }
    values.pop(drop, None)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def sign(key: RSAPrivateKey, data: bytes) -> bytes:
    return key.sign(data, PKCS1v15(), hashes.SHA256())


def raw(key: RSAPrivateKey, block: bytes) -> bytes:
    """A signature that becomes any block, even one that no signer makes."""
    numbers = key.private_numbers()
    assert len(block) == SIGNATURE
    made = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return made.to_bytes(SIGNATURE, "big")


def beyond(key: RSAPrivateKey) -> tuple[bytes, bytes]:
    """A header and its signature plus the modulus, which is the same number to the modulus."""
    n = key.private_numbers().public_numbers.n
    for time in range(10_000):
        data = header(time=time)
        larger = int.from_bytes(sign(key, data), "big") + n
        if larger < 1 << 8 * SIGNATURE:
            return data, larger.to_bytes(SIGNATURE, "big")
    raise RuntimeError("this modulus is too large: make another key")


def cases(owner: RSAPrivateKey, other: RSAPrivateKey) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Name → (head of the payload, header, signature)."""
    bundle = b"\xd2\xcd\x31"
    # For chip 0, with the magic of an application's description.
    image = b"\xe9\1\0\0........\0\0" + b"." * 18 + b"\x32\x54\xcd\xab"
    short = hashlib.sha256(payload(b"")[:-1]).hexdigest()
    headers = {
        "good": (b"", header()),
        "bundle": (bundle, header(bundle, kind="bundle")),
        "image": (image, header(image, kind="esp32-image")),
        "no target": (b"", header(target=None)),
        "newer": (b"", header(sequence=8, time=1_700_000_000)),
        "unicode": (b"", header(version="0.2 ä\U0001f600", target="ü")),
        "longest": (b"", header(key="k" * (528 - len(header())))),
        "too long": (b"", header(key="k" * (529 - len(header())))),
        "an image as a bundle": (image, header(image, kind="bundle")),
        "a bundle as an image": (bundle, header(bundle, kind="esp32-image")),
        "another kind": (b"", header(kind="firmware")),
        "shorter": (b"", header(size=SIZE - 1, sha256=short)),
        "longer": (b"", header(size=SIZE + 1)),
        "size as text": (b"", header(size=str(SIZE))),
        "another payload": (b"", header(sha256=short)),
        "no digest": (b"", header(sha256=None)),
        "another format": (b"", header(v=2)),
        "no format": (b"", header(drop="v")),
        "no version": (b"", header(drop="version")),
        "no kind": (b"", header(drop="kind")),
        "target left out": (b"", header(drop="target")),
        "number left out": (b"", header(drop="sequence")),
        "number as text": (b"", header(sequence="8")),
        "number true": (b"", header(sequence=True)),
        "number huge": (b"", header(sequence=10**300)),
        "number a fraction": (b"", header(sequence=7.5)),
        "a list": (b"", b"[1]"),
        "a number": (b"", b"7"),
        "no JSON": (b"", b"\xff{"),
        "deep": (b"", b"[" * 512),
    }
    found = {name: (head, data, sign(owner, data)) for name, (head, data) in headers.items()}
    good = header()
    digest = hashlib.sha256(good).digest()
    found["by another key"] = (b"", good, sign(other, good))
    pad = b"\0\1" + b"\xff" * 330
    blocks = {
        "of another header": pad + b"\0" + INFO + hashlib.sha256(b"else").digest(),
        "short padding": b"\0\1" + b"\xff" * 8 + b"\0" + INFO + digest + bytes(322),
        "garbage in the padding": b"\0\1" + b"\xff" * 329 + b"\xfe\0" + INFO + digest,
        "another block type": b"\0\2" + b"\xff" * 330 + b"\0" + INFO + digest,
        "without NULL": b"\0\1" + b"\xff" * 332 + b"\0" + INFO_WITHOUT_NULL + digest,
        "SHA-1": b"\0\1" + b"\xff" * 346 + b"\0" + INFO_SHA1 + hashlib.sha1(good).digest(),
        "no DigestInfo": b"\0\1" + b"\xff" * 349 + b"\0" + digest,
    }
    for name, block in blocks.items():
        found[name] = (b"", good, raw(owner, block))
    found["zero"] = (b"", good, bytes(SIGNATURE))
    found["one"] = (b"", good, bytes(SIGNATURE - 1) + b"\1")
    found["all ones"] = (b"", good, b"\xff" * SIGNATURE)
    found["plus the modulus"] = (b"", *beyond(owner))
    return found


def modulus_with_room() -> RSAPrivateKey:
    """A key for which a signature plus the modulus may still have 384 bytes."""
    while True:
        key = generate_private_key(65537, 3072)
        if key.private_numbers().public_numbers.n < 7 << 3069:
            return key


def literal(value: bytes | str) -> str:
    """In lines of at most 99 characters, in parentheses."""
    lines = [f"        {value[at : at + 80]!r}" for at in range(0, len(value), 80)]
    return "(\n" + "\n".join(lines) + "\n    )" if len(lines) > 1 else repr(value)


def main() -> None:
    keys = {"owner": modulus_with_room(), "other": generate_private_key(65537, 3072)}
    text = HEAD.replace("{size}", str(SIZE)) + "\nKEYS = {\n"
    for name, key in keys.items():
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        text += f"    {name!r}: a2b_base64{literal(base64.b64encode(der).decode())},\n"
    text += "}\n\n# name: (the payload's head, header, signature)\nCASES = {\n"
    for name, (head, data, signature) in cases(keys["owner"], keys["other"]).items():
        parts = literal(data), literal(base64.b64encode(signature).decode())
        text += f"    {name!r}: ({head!r}, {parts[0]}, {parts[1]}),\n"
    OUT.write_text(text + "}\n")


if __name__ == "__main__":
    main()
