"""Change an input within its format, because random bytes would seldom pass its checks."""

from __future__ import annotations

import binascii
import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31 - 1,
    2**31,
    2**32,
    2**63,
    -(2**63),
    10**30,
    1.5,
    1e308,
    "",
    "0",
    "x",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "../../boot",
    "/boot",
    "..",
    ".",
    "é",
    "a" * 33,
    "a" * 65,
    "a" * 300,
    [],
    {},
    [[]],
    {"a": 1},
    [1, "x", None],
)
_RAW = ("1e999", "-0", "0x10", "1e", "--1", "1.2.3", "truth", "'x'", "NaN", '"\\u12"', "[1,,2}")
_DEPTHS = (2, 50, 700)
_CRC = b'"crc": "'


def any_bytes(data: bytes, chance: random.Random, most: int) -> bytes:
    """Make one to four changes of any kind."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(out))
        kind = chance.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = chance.choice(b'\0\xff\x80\x7f 0"\n/%')
        elif kind == 2:
            del out[at : at + chance.randint(1, 1 + len(out) // 4)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randint(1, 8))
        elif kind == 4:
            end = at + chance.randint(1, 1 + len(out) // 4)
            out[at:at] = out[at:end] * chance.randint(1, 4)
        else:
            out[at : at + 4] = chance.randbytes(4)
    return bytes(out[:most])


def a_json(data: bytes, chance: random.Random) -> bytes:
    """Change a value, a key or a bracket of a JSON text; invalid or too deep JSON is kept."""
    try:
        return _a_json(json.loads(data), chance)
    except (ValueError, RecursionError):
        return data


def _a_json(value: Any, chance: random.Random) -> bytes:
    slots: list[tuple[Any, Any]] = []
    _slots([value], slots)
    for _ in range(chance.randint(1, 2)):
        holder, key = chance.choice(slots)
        kind = chance.randrange(12)
        if kind < 5:
            old = holder[key] if _has(holder, key) else None
            flips = isinstance(old, bool) and chance.randrange(2)
            holder[key] = not old if flips else chance.choice(VALUES)
        elif kind == 5:
            other, name = chance.choice(slots)
            if name in other if isinstance(other, dict) else True:
                holder[key] = json.loads(_dumps(other[name]))
        elif kind == 6 and isinstance(holder, dict):
            holder.pop(key, None)
            slots = [each for each in slots if each != (holder, key)] or [([value], 0)]
        elif kind == 7 and isinstance(holder, dict):
            holder[chance.choice(("x", "", "\ud800", str(key) + "s"))] = holder.get(key)
        elif kind == 8 and isinstance(holder.get(key) if isinstance(holder, dict) else 0, str):
            text = holder[key]
            at = chance.randint(0, len(text))
            holder[key] = text[:at] + chance.choice(("\0", "\n", "/", "é", "..", text)) + text[at:]
        else:
            return _raw(_dumps(value), _dumps(holder[key]) if _has(holder, key) else "1", chance)
    return _dumps(value).encode(errors="surrogatepass")


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _raw(text: str, piece: str, chance: random.Random) -> bytes:
    """Replace a piece with text that no JSON writer produces."""
    kind = chance.randrange(4)
    if kind == 0:
        depth = chance.choice(_DEPTHS)
        opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
        instead = opened * depth + chance.choice(("1", "")) + closed * chance.choice((depth, 0))
    elif kind == 1:
        instead = chance.choice(_RAW)
    elif kind == 2:
        instead = "9" * chance.choice((10, 19, 40, 400))
    else:
        # Repeat the key.
        pairs = [part for part in text[1:-1].split(", ") if ": " in part]
        again = chance.choice(pairs) if pairs else '"a": 1'
        name = again.partition(": ")[0]
        return f"{text[:-1]}, {name}: {_dumps(chance.choice(VALUES))}{text[-1:]}".encode()
    return text.replace(piece, instead, 1).encode(errors="surrogatepass")


def _slots(value: Any, found: list[tuple[Any, Any]]) -> None:
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            _slots(value[key], found)


def _dumps(value: Any) -> str:
    return json.dumps(value)


def seal(data: bytes) -> bytes:
    """Add the CRC to a JSON object, as at the end of the board's files (docs/formats.md)."""
    head = data.rstrip()[:-1] + (b", " if len(data) > 2 else b"")
    return head + b'"crc": "%08x"}' % binascii.crc32(head)


def sealed(data: bytes, chance: random.Random) -> bytes:
    """Change a JSON text like `a_json`, and append the right CRC."""
    head, mark, _ = data.rpartition(_CRC)
    plain = head.rstrip(b", ") + b"}" if mark else data
    changed = a_json(plain, chance)
    return seal(changed) if changed[-1:] == b"}" and chance.randrange(8) else changed
