"""The checkpoint of partly received firmware, in a file or in a slot."""

import json
import random

from .. import mutate
from ..mutate import seal
from ..target import Bound, Mistake, Target

_KNOWN = {"version": "0.2", "md5sum": "0" * 32, "file_size": 6000, "position": 4096}


def _file(pieces: int = 9, **changed: object) -> bytes:
    """Return a checkpoint file for `pieces` of 500 bytes each."""
    return (
        b"0123456789:;<=>?"[pieces : pieces + 1]
        + b"f"
        + seal(json.dumps({**_KNOWN, **changed}).encode())
    )


def _slot(pieces: int = 0, **changed: object) -> bytes:
    values = {**_KNOWN, "slot": "ota_1", **changed}
    return b"0123456789:;<=>?"[pieces : pieces + 1] + b"s" + seal(json.dumps(values).encode())


def seeds() -> dict[str, bytes]:
    return {
        "good": _file(),
        "good-slot": _slot(),
        "good-etag": _file(etag='"abc"'),
        "good-whole": _file(12, position=6000),
        "good-slot-whole": _slot(position=6000),
        "longer-than-it-should-be": _file(15),
        "other-md5": _file(md5sum="1" * 32),
        "other-size": _file(file_size=6001),
        "of-a-slot-with-a-file": _file(slot="ota_1"),
        "slot-that-runs": _slot(slot="ota_0"),
        "slot-a-list": _slot(slot=["ota_1"]),
        "slot-other-md5": _slot(md5sum="1" * 32),
        "position-huge": _slot(position=2**63),
        "position-beyond": _slot(position=6001),
        "position-negative": _slot(position=-4096),
        "position-true": _slot(position=True),
        "position-fraction": _slot(position=4096.0),
        "position-text": _slot(position="4096"),
        "position-null": _slot(position=None),
        "position-between": _slot(position=5000),
        "etag-a-list": _file(etag=["x"]),
        "etag-long": _file(etag="x" * 2000),
        "no-crc": b"9f" + json.dumps(_KNOWN).encode(),
        "damaged": _file()[:-4] + b'00"}',
        "cut": _file()[:40],
        "a-list": b"9f" + seal(b"[1, 2"),
        "deep": b"9f" + b"[" * 1000,
        "nothing": b"9f",
        "nothing-at-all": b"",
    }


def change(data: bytes, chance: random.Random) -> bytes:
    head = data[:2]
    if chance.randrange(4) == 0:
        head = bytes([chance.choice(b"0123456789:;<=>?"), chance.choice(b"fs")])
    return head + mutate.sealed(data[2:], chance)


TARGET = Target(
    about="a checkpoint of a file or a slot",
    code=(
        "lib/ivota/download_preparation.py",
        "lib/ivota/slot_finder.py",
        "lib/ivota/json_file.py",
    ),
    seeds=seeds,
    mutate=change,
    most=2200,
    lines=Bound(20_000, 20),
    words=tuple(f'"{key}": ' for key in _KNOWN) + ('"slot": "ota_1"', '"crc": "'),
    mistakes=(
        Mistake(
            "accepts any position",
            (
                (
                    "lib/ivota/slot_finder.py",
                    "if type(position) is not int or not 0 <= position <= target.size:",
                    "if type(position) is not int:",
                ),
            ),
        ),
        Mistake(
            "keeps too much",
            (
                (
                    "lib/ivota/download_preparation.py",
                    "if length > push.size or not ours:",
                    "if not ours:",
                ),
            ),
        ),
    ),
)
