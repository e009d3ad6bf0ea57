"""Firmware files as uploaded: bundles, images, signed ones, and others."""

import random

from .. import archives
from ..target import Bound, Mistake, Target
from . import bundle, patch, signature


def seeds() -> dict[str, bytes]:
    found = bundle.seeds()
    for name, data in signature.seeds().items():
        if name in ("good", "case-image", "case-deep", "case-no-JSON", "lengths-largest", "twice"):
            found["signed-" + name] = data
    found["signed-bundle"] = found["good"] + signature.seeds()["good"]
    found |= {f"patch-{name}": data for name, data in patch.seeds().items()}
    found["good-patch"] = found.pop("patch-good")
    found["image"] = b"\xe9\x01\0\0" + bytes(100)
    return found


def change(data: bytes, chance: random.Random) -> bytes:
    made = archives.change(data, chance)
    return patch.change(data, chance) if made == data and data[:8] == b"IVOTADLT" else made


TARGET = Target(
    about="an upload",
    code=(
        "tools/ivota_tools/firmware/bundle.py",
        "tools/ivota_tools/firmware/release/inspection.py",
        "tools/ivota_tools/firmware/signed_file.py",
        "tools/ivota_tools/firmware/patch/reader.py",
    ),
    device=False,
    seeds=seeds,
    mutate=change,
    most=8192,
    lines=Bound(20_000, 40),
    words=("ivota.json", "app.py", "..", "IVOTASIG", "IVOTADLT"),
    mistakes=(
        Mistake(
            "accepts any path",
            (
                (
                    "tools/ivota_tools/firmware/bundle.py",
                    'if not all(part.strip(".") for part in name.split("/")):',
                    'if "/" == name[:1]:',
                ),
            ),
        ),
        Mistake(
            "changes bytes that a patch has not copied",
            (
                (
                    "tools/ivota_tools/firmware/patch/reader.py",
                    "if words and 2 * words[-1] >= min(copy, PIECE):",
                    "if False:",
                ),
            ),
        ),
        Mistake(
            "accepts a path twice",
            (
                (
                    "tools/ivota_tools/firmware/bundle.py",
                    'if path.split("/") <= last or path == FACTS:',
                    "if False:",
                ),
            ),
        ),
    ),
)
