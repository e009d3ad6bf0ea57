"""The configuration and its kept copy, in any state that a flash may have."""

import binascii
import json
import random

from .. import mutate
from ..mutate import seal
from ..target import Bound, Mistake, Target
from .config import LEAST

_LINE = b"\n---\n"


def _copy(config: object = LEAST, mark: object = None) -> bytes:
    return seal(json.dumps({"config": config, "mark": mark}).encode())


def seeds() -> dict[str, bytes]:
    mine = json.dumps(LEAST).encode()
    other = json.dumps({**LEAST, "device_name": "other"}).encode()
    mark = [binascii.crc32(mine), 77]
    return {
        "good": mine + _LINE + _copy(mark=mark),
        "good-changed": other + _LINE + _copy(mark=[1, 5]),
        "good-first": mine,
        "damaged": other[:-1] + b"!" + _LINE + _copy(mark=mark),
        "not-written-by-anyone": other + _LINE + _copy(mark=mark),
        "missing": _LINE + _copy(mark=mark),
        "copy-damaged": mine + _LINE + _copy(mark=mark)[:-3] + b'0"}',
        "copy-cut": mine + _LINE + _copy()[:30],
        "copy-without-a-crc": mine + _LINE + b'{"config": {}, "mark": [1, 2]}',
        "copy-of-nothing": _LINE + _copy(None, mark),
        "copy-a-list": _LINE + _copy([], mark),
        "copy-a-text": _LINE + _copy("x", [1, 2]),
        "mark-of-another-time": mine + _LINE + _copy(mark=[1, 0]),
        "both-bad": b"{" + _LINE + b"{",
        "deep": b"[" * 1000 + _LINE + b"[" * 1000,
        "nul": b"\0" + _LINE + b"\0",
        "nothing": b"",
    }


def change(data: bytes, chance: random.Random) -> bytes:
    mine, line, copy = data.partition(_LINE)
    if chance.randrange(2):
        return mutate.a_json(mine, chance) + line + copy
    # A file with the right CRC was written by a board; it holds any configuration.
    try:
        config = mutate.a_json(json.dumps(json.loads(copy)["config"]).encode(), chance)
        found = [binascii.crc32(mine) + chance.randrange(2), 77 + chance.randrange(2)]
        return (
            mine
            + _LINE
            + seal(b'{"config": %s, "mark": %s}' % (config, json.dumps(found).encode()))
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return mine + _LINE + _copy()


TARGET = Target(
    about="the configuration on flash and its kept copy",
    code=("lib/ivota/config_fallback.py", "lib/ivota/json_file.py", "lib/ivota/config.py"),
    seeds=seeds,
    mutate=change,
    most=2200,
    lines=Bound(20_000, 40),
    words=('"config": ', '"mark": ', '"crc": "', "\\x0a---\\x0a"),
    mistakes=(
        Mistake(
            "keeps a configuration that is not valid",
            (("lib/ivota/config_fallback.py", "            paths.remove(path)\n", ""),),
        ),
        Mistake(
            "reads a damaged file",
            (
                (
                    "lib/ivota/json_file.py",
                    "except (OSError, ValueError):",
                    "except OSError:",
                ),
            ),
        ),
    ),
)
