"""Signed firmware, as the host verifies it."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import mutate
from ..target import CORPUS, Mistake, Target
from . import signature

KEY = CORPUS / "verify.pub"  # the public half of a key that has signed `good`, and is forgotten
_GOOD = CORPUS / "verify" / "good"


def _good() -> bytes:
    """As it was kept, else anew with another key."""
    if not KEY.exists() or not _GOOD.exists():
        # Here, for it is among what is examined, and has to be loaded by the one who does that.
        from ivota_tools.firmware.signed_file import Signer
        from ivota_tools.firmware.signing_keys import generate, load_private

        with TemporaryDirectory() as folder:
            made = Path(folder, "owner.key")
            generate(made, None)
            signer = Signer(load_private(made, str), 7, "t")
            KEY.write_bytes(made.with_suffix(".pub").read_bytes())
            _GOOD.write_bytes(signer.sign(b"payload" * 9, "0.2", "other"))
    return _GOOD.read_bytes()


def seeds() -> dict[str, bytes]:
    good = _good()
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
    """The header changed as JSON, with its length."""
    size = int.from_bytes(data[-12:-10], "little")
    if len(data) < 396 + size:
        return data
    start = len(data) - 396 - size
    changed = mutate.a_json(data[start:-396], chance)[:512]
    return (
        data[:start] + changed + data[-396:-12] + len(changed).to_bytes(2, "little") + data[-10:]
    )


TARGET = Target(
    about="a signed firmware, as `ivota verify` reads it",
    code=("tools/ivota_tools/firmware/signed_file.py",),
    device=False,
    seeds=seeds,
    mutate=change,
    most=1400,
    words=("IVOTASIG", "\\x80\\x01IVOTASIG", '"sequence":', '"size":', '"v":1'),
    mistakes=(
        Mistake(
            "any key",
            (
                (
                    "tools/ivota_tools/firmware/signed_file.py",
                    "if not any(key.signed(",
                    "if any(key.signed(",
                ),
            ),
        ),
        Mistake(
            "any payload",
            (
                (
                    "tools/ivota_tools/firmware/signed_file.py",
                    "    if not fits(payload, trailer):\n",
                    "    if False:\n",
                ),
            ),
        ),
        Mistake(
            "any error",
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
