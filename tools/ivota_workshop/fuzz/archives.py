"""Archives made and changed within their format: checksums are right again, lists fit again."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

from . import mutate

BLOCK = 512
_NAMES = (
    "app.py",
    "app.mpy",
    "../boot.py",
    "/boot.py",
    "a/../../boot.py",
    "a//b",
    "a\\b",
    ".",
    "..",
    "",
    "ivota.json",
    "a/b",
    "a",
    "x" * 99,
    "\x01",
    "\t",
    "\n",
    "é",
    "lib/ivota/client.mpy",
)
_SIZES = ("0", "1", "777", "77777777777", "-1", "8", "1_0", "0o7", " 7", "+7", "x", "")


def header(name: str, size: int | bytes, kind: bytes = b"0", prefix: str = "") -> bytes:
    """One header of a ustar archive."""
    block = bytearray(BLOCK)
    block[: len(name.encode()[:100])] = name.encode()[:100]
    block[100:107] = b"0000644"
    block[108:115] = block[116:123] = b"0000000"
    field = size if isinstance(size, bytes) else b"%011o" % size
    block[124 : 124 + len(field[:12])] = field[:12]
    block[136:147] = b"0" * 11
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[345 : 345 + len(prefix)] = prefix.encode()
    return _summed(block)


def _summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def member(name: str, data: bytes, **more: Any) -> bytes:
    return header(name, more.pop("size", len(data)), **more) + data + bytes(-len(data) % BLOCK)


def listed(contents: Mapping[str, bytes], **changed: Any) -> bytes:
    """A bundle's file list; the members follow in its order."""
    entries = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    ]
    value = {"format": 1, "application": "a", "version": "0.2", "files": entries, **changed}
    return json.dumps(value).encode()


def bundle(
    files: Mapping[str, bytes], list_: bytes | None = None, end: bytes = bytes(1024)
) -> bytes:
    parts = [member("ivota.json", listed(files) if list_ is None else list_)]
    return b"".join([*parts, *(member(name, data) for name, data in files.items()), end])


def change(data: bytes, chance: random.Random) -> bytes:
    """One header, or the list, changed; sums and sizes fit again, mostly."""
    starts = _headers(data)
    if not starts:
        return data
    if chance.randrange(3) == 0:
        return _relist(data, chance)
    at = chance.choice(starts)
    block = bytearray(data[at : at + BLOCK].ljust(BLOCK, b"\0"))
    kind = chance.randrange(7)
    if kind == 0:
        name = chance.choice(_NAMES).encode()[:100]
        block[:100] = name.ljust(100, b"\0")
    elif kind == 1:
        block[124:136] = chance.choice(_SIZES).encode().ljust(12, b"\0")
    elif kind == 2:
        block[156] = chance.choice(b"01257xgL\0")
    elif kind == 3:
        block[345:500] = chance.choice(_NAMES).encode().ljust(155, b"\0")[:155]
    elif kind == 4:
        place = chance.randrange(BLOCK)
        block[place] ^= 1 << chance.randrange(8)
    elif kind == 5:  # a member twice, or in another's place
        other = chance.choice(starts)
        return data[:at] + data[other : other + 2 * BLOCK] + data[at:]
    else:
        return data[:at] + data[at + BLOCK * chance.randint(1, 3) :]
    summed = _summed(block) if chance.randrange(8) else bytes(block)
    changed = data[:at] + summed + data[at + BLOCK :]
    return _agreed(changed, chance) if chance.randrange(2) else changed


def _headers(data: bytes) -> list[int]:
    return [at for at in range(0, len(data), BLOCK) if data[at + 257 : at + 262] == b"ustar"]


def _list(data: bytes) -> bytes:
    size = data[124:135]
    return data[BLOCK : BLOCK + int(size, 8)] if size.isdigit() else b""


def _relist(data: bytes, chance: random.Random) -> bytes:
    """The file list changed as JSON, in a member of the right length."""
    try:
        old = _list(data)
        new = mutate.a_json(old, chance)
    except ValueError:
        return data
    rest = data[BLOCK + -(-len(old) // BLOCK) * BLOCK :]
    return member("ivota.json", new) + rest


def _agreed(data: bytes, chance: random.Random) -> bytes:
    """The list says what the headers say, as far as they can be read; mostly in its order."""
    try:
        value = json.loads(_list(data))
        members = []
        for at in _headers(data)[1:]:
            name = data[at : at + 100].partition(b"\0")[0].decode()
            prefix = data[at + 345 : at + 500].partition(b"\0")[0].decode()
            size = int(data[at + 124 : at + 135], 8)
            end = at + BLOCK + -(-min(size, len(data)) // BLOCK) * BLOCK
            digest = hashlib.sha256(data[at + BLOCK :][: min(size, len(data))]).hexdigest()
            path = f"{prefix}/{name}" if prefix else name
            entry = {"path": path, "size": size, "sha256": digest}
            members.append((path, entry, data[at:end]))
        if chance.randrange(4):
            members.sort(key=lambda member: member[0])
        value["files"] = [entry for _, entry, _ in members]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data
    parts = [member("ivota.json", json.dumps(value).encode())]
    return b"".join([*parts, *(found for _, _, found in members), bytes(2 * BLOCK)])
