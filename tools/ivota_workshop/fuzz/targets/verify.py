"""Signed firmware, as the host verifies it."""

import random

from .. import mutate
from ..target import HERE, Mistake, Target
from . import signature

# A signed firmware, and the public half of its key; the private half was not kept.
KEY = HERE / "samples" / "signer.pub"
_GOOD = HERE / "samples" / "signed.bin"


def seeds() -> dict[str, bytes]:
    good = _GOOD.read_bytes()
    return {
        "good": good,
        "by-another-key": signature.seeds()["good"],
        "no-format": signature.seeds()["case-no-format"],
        "deep": signature.seeds()["case-deep"],
        "payload-changed": b"P" + good[1:],
        "payload-longer": b"p" + good,
        "header-changed": good.replace(b'"0.2"', b'"0.3"'),
        "magic-changed": good[:-1] + b"X",
        "lengths-largest": good[:-12] + b"\xff" * 4 + good[-8:],
        "header-empty": good[-396:-12] + b"\0\0" + good[-10:],
        "signature-zero": good[:-396] + bytes(384) + good[-12:],
        "twice": good + good,
        "unsigned": b"payload",
        "nothing": b"",
    }


def change(data: bytes, chance: random.Random) -> bytes:
    """Change the header as JSON, and its length to match."""
    size = int.from_bytes(data[-12:-10], "little")
    if len(data) < 396 + size:
        return data
    start = len(data) - 396 - size
    changed = mutate.a_json(data[start:-396], chance)[:512]
    return (
        data[:start] + changed + data[-396:-12] + len(changed).to_bytes(2, "little") + data[-10:]
    )


TARGET = Target(
    about="signed firmware, as `ivota verify` reads it",
    code=("tools/ivota_tools/firmware/signed_file.py",),
    device=False,
    seeds=seeds,
    mutate=change,
    most=1400,
    words=("IVOTASIG", "\\x80\\x01IVOTASIG", '"sequence":', '"size":', '"v":1'),
    mistakes=(
        Mistake(
            "accepts any key",
            (
                (
                    "tools/ivota_tools/firmware/signed_file.py",
                    "if not any(key.signed(",
                    "if any(key.signed(",
                ),
            ),
        ),
        Mistake(
            "accepts any payload",
            (
                (
                    "tools/ivota_tools/firmware/signed_file.py",
                    "    if not fits(payload, trailer):\n",
                    "    if False:\n",
                ),
            ),
        ),
        Mistake(
            "accepts any error",
            (
                (
                    "tools/ivota_tools/firmware/signed_file.py",
                    "except (AttributeError, KeyError, TypeError, ValueError, RecursionError)",
                    "except (KeyError, ValueError)",
                ),
            ),
        ),
    ),
)
