"""The state file, with or without the right CRC."""

import json

from .. import mutate
from ..mutate import seal
from ..target import Bound, Mistake, Target

_STATE = {
    "active": "/firmware/0.2.bin",
    "previous": "/firmware/0.1.bin",
    "trial": {"version": "0.2", "md5sum": "0" * 32, "limits": [3, 10], "sequence": 7},
    "ended": {"version": "0.2", "why": "crashed", "reject": True, "md5sum": "0" * 32},
    "outbox": "{}",
    "rejected": [["0" * 32, "why"], ["1" * 32, "why", "0.3"]],
    "failures": ["0" * 32, 3],
    "tries": ["0" * 32, 1],
    "sums": {"/firmware/0.2.bin": "0" * 32},
    "sequence": 7,
    "starts": 1,
    "power_boots": 1,
    "worn_until": 1700000000,
}


def _with(**changed: object) -> bytes:
    return seal(json.dumps({**_STATE, **changed}).encode())


def seeds() -> dict[str, bytes]:
    whole = _with()
    return {
        "good": whole,
        "good-empty": seal(b"{}"),
        "good-few": seal(b'{"active": "/firmware/0.2.bin", "sequence": 5}'),
        "no-crc": json.dumps(_STATE).encode(),
        "bit-flipped": whole[:20] + b"X" + whole[21:],
        "cut": whole[:100],
        "crc-of-capitals": whole[:-10] + whole[-10:].upper(),
        "crc-twice": seal(whole),
        "types": _with(active=5, trial=[], rejected={}, sequence="7", starts=None, failures=7),
        "booleans": _with(sequence=True, starts=False, worn_until=True),
        "numbers-huge": _with(sequence=10**300, starts=2**63, worn_until=-(2**63)),
        "fractions": _with(sequence=1.5, starts=1e300),
        "rejected-of-anything": _with(rejected=[1, None, [], [1], ["0" * 32], {}, ["0" * 32, []]]),
        "failures-of-anything": _with(failures=["0" * 32, "3"], tries=["0" * 32]),
        "failures-huge": _with(failures=["0" * 32, 10**40]),
        "sums-a-list": _with(sums=["x"]),
        "a-list": seal(b'["active", 1, {"a": 1}'),
        "surrogate": _with(active="\ud800"),
        "nul": _with(active="/firmware/\0.bin"),
        "deep": seal(b'{"trial": ' + b'{"a":' * 200 + b"1" + b"}" * 201),
        "zeros": bytes(200),
        "erased": b"\xff" * 200,
        "nothing": b"",
    }


TARGET = Target(
    about="the state file",
    code=(
        "lib/ivota/state.py",
        "lib/ivota/state.py",
        "lib/ivota/failure_record.py",
        "lib/ivota/json_file.py",
        "lib/bundlefs.py",
    ),
    seeds=seeds,
    mutate=mutate.sealed,
    most=1500,
    lines=Bound(20_000, 20),
    words=tuple(f'"{key}": ' for key in _STATE) + ('"crc": "',),
    mistakes=(
        Mistake(
            "accepts any type",
            (
                (
                    "lib/ivota/state.py",
                    "            if type(value) is not kind:\n",
                    "            if value is None:\n",
                ),
            ),
        ),
        Mistake(
            "does not compare the CRC",
            (
                (
                    "lib/ivota/json_file.py",
                    "if text[at + len(_CRC) :] != b'%08x\"}' % crc32(memoryview(text)[:at]):",
                    "if text[-2:] != b'\"}':",
                ),
            ),
        ),
    ),
)
