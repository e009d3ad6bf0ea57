"""A signed header: JSON written by its owner, compared with the push and the payload."""

import hashlib
import json

from .. import mutate
from ..target import Mistake, Target

_PAYLOAD = b"payload" * 90
_HEADER = {
    "key": "0" * 16,
    "kind": "other",
    "sequence": 6,
    "sha256": hashlib.sha256(_PAYLOAD).hexdigest(),
    "size": len(_PAYLOAD),
    "target": "t",
    "time": 0,
    "v": 1,
    "version": "0.2",
}


def _with(**changed: object) -> bytes:
    return json.dumps({**_HEADER, **changed}, separators=(",", ":")).encode()


def seeds() -> dict[str, bytes]:
    good = _with()
    found = {
        "good": good,
        "good-blanks": json.dumps(_HEADER).encode(),
        "number-huge": _with(sequence=10**80),
        "number-confirmed": _with(sequence=5),
        "number-negative": _with(sequence=-(2**63)),
        "number-true": _with(sequence=True),
        "number-fraction": _with(sequence=6.5),
        "number-text": _with(sequence="6"),
        "number-twice": good[:-1] + b',"sequence":1}',
        "version-other": _with(version="0.3"),
        "version-null": _with(version=None),
        "target-null": _with(target=None),
        "target-list": _with(target=["t"]),
        "size-other": _with(size=1),
        "size-fraction": _with(size=float(len(_PAYLOAD))),
        "size-text": _with(size=str(len(_PAYLOAD))),
        "digest-other": _with(sha256="0" * 64),
        "digest-upper": _with(sha256=hashlib.sha256(_PAYLOAD).hexdigest().upper()),
        "digest-null": _with(sha256=None),
        "kind-bundle": _with(kind="bundle"),
        "kind-image": _with(kind="esp32-image"),
        "kind-null": _with(kind=None),
        "v-2": _with(v=2),
        "v-true": _with(v=True),
        "surrogate": good.replace(b'"t"', b'"\\ud800"'),
        "not-utf8": good.replace(b'"t"', b'"\xff"'),
        "nul": good.replace(b'"t"', b'"t\\u0000"'),
        "list": b"[]",
        "null": b"null",
        "text": b'"version"',
        "deep": b"[" * 512,
        "deep-inside": good[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}",
        "nothing": b"",
    }
    for key in _HEADER:
        found[f"no-{key}"] = json.dumps({k: v for k, v in _HEADER.items() if k != key}).encode()
    return found


TARGET = Target(
    about="a signed header",
    code=("lib/ivota/signed_claims.py", "lib/ivota/signature_footer.py"),
    seeds=seeds,
    mutate=mutate.a_json,
    most=512,
    words=tuple(f'"{key}":' for key in _HEADER),
    mistakes=(
        Mistake(
            "accepts the confirmed sequence again",
            (
                (
                    "lib/ivota/signed_claims.py",
                    'claims["sequence"] <= confirmed',
                    'claims["sequence"] < confirmed',
                ),
            ),
        ),
        Mistake(
            "accepts another target",
            (("lib/ivota/signed_claims.py", 'if claims["target"] != target:', "if False:"),),
        ),
        Mistake(
            "accepts any format", (("lib/ivota/signed_claims.py", ' or claims["v"] != 1', ""),)
        ),
        Mistake(
            "accepts any payload",
            (
                (
                    "lib/ivota/signed_claims.py",
                    'if binascii.hexlify(digest.digest()).decode() != claims["sha256"]:',
                    "if False:",
                ),
            ),
        ),
    ),
)
