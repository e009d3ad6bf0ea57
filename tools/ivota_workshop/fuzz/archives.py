"""Build ROMFS images and change them within their format: the lengths mostly stay consistent."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivota_tools.firmware import romfs

from . import mutate

PADDING, VERBATIM, POINTER, FOLDER, FILE = 1, 2, 3, 4, 5
_NAMES = (
    "app.py",
    "app.mpy",
    "../boot.py",
    "/boot.py",
    "a\\b",
    ".",
    "..",
    "",
    "ivota.json",
    "a",
    "x" * 99,
    "x" * 300,
    "\x01",
    "\t",
    "\n",
    "é",
    "lib",
)
_LENGTHS = (0, 1, 127, 128, 255, 1 << 14, (1 << 28) - 1, 1 << 28, 1 << 34)


@dataclass
class Node:
    """A record: a file or folder has a name and contents, any other record has a payload."""

    kind: int
    name: bytes = b""
    inside: list[Node] = field(default_factory=list)
    payload: bytes = b""

    def encoded(self, length: int | None = None) -> bytes:
        payload = self.payload
        if self.kind in (FOLDER, FILE):
            payload = integer(len(self.name)) + self.name
            payload += b"".join(each.encoded() for each in self.inside) + self.payload
        return integer(self.kind) + integer(len(payload) if length is None else length) + payload


def integer(value: int) -> bytes:
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.insert(0, 0x80 | value & 0x7F)
    return bytes(encoded)


def image(payload: bytes, length: int | None = None) -> bytes:
    return romfs.MAGIC + integer(len(payload) if length is None else length) + payload


def file(name: str | bytes, data: bytes) -> bytes:
    encoded = name if isinstance(name, bytes) else name.encode()
    return Node(FILE, encoded, [Node(VERBATIM, payload=data)]).encoded()


def folder(name: str, inside: bytes) -> bytes:
    return Node(FOLDER, name.encode(), payload=inside).encoded()


def facts(**changed: Any) -> bytes:
    """Return the content of a bundle's ivota.json."""
    return json.dumps({"format": 2, "application": "a", "version": "0.2", **changed}).encode()


def bundle(files: Mapping[str, bytes], said: bytes | None = None) -> bytes:
    return romfs.build({"ivota.json": facts() if said is None else said, **files})


def change(data: bytes, chance: random.Random) -> bytes:
    """Change one record, or the JSON in a file, and adjust the lengths around it."""
    try:
        start, end = romfs._bounds(data)
        nodes = _parsed(data, start, end)
    except (romfs.RomfsError, RecursionError):
        return data
    every = list(_all(nodes))
    if not every:
        return data
    node, among = chance.choice(every)
    kind = chance.randrange(8)
    if kind == 0:
        node.name = chance.choice(_NAMES).encode()
    elif kind == 1:
        node.kind = chance.choice((PADDING, VERBATIM, POINTER, FOLDER, FILE, 0, 6))
    elif kind == 2:  # duplicate a record, or move it
        among.insert(chance.randrange(len(among) + 1), chance.choice(every)[0])
    elif kind == 3:
        among.remove(node)
    elif kind == 4:
        chance.shuffle(among)
    elif kind == 5:
        among[:] = [Node(FOLDER, b"d", among[:])] if chance.randrange(2) else among[::-1]
    elif kind == 6:
        return _json_changed(nodes, data[end:], chance)
    else:  # a wrong length
        at = among.index(node)
        among[at] = Node(node.kind, payload=b"")
        raw = node.encoded(chance.choice(_LENGTHS))
        among[at] = Node(VERBATIM, payload=raw)
    try:
        payload = b"".join(each.encoded() for each in nodes)
    except RecursionError:
        return data
    return image(payload) + data[end:]


def _json_changed(nodes: list[Node], rest: bytes, chance: random.Random) -> bytes:
    files = [each for each in nodes if each.inside and each.inside[0].payload[:1] == b"{"]
    if files:
        content = chance.choice(files).inside[0]
        try:
            content.payload = mutate.a_json(content.payload, chance)
        except ValueError:
            pass
    return image(b"".join(each.encoded() for each in nodes)) + rest


def _parsed(data: bytes, at: int, end: int) -> list[Node]:
    found = []
    for kind, start, stop in romfs._records(data, at, end, itertools.count()):
        node = Node(kind, payload=data[start:stop])
        if kind in (FOLDER, FILE):
            length, begin = romfs._read_integer(data, start, stop)
            node.name = data[begin : begin + length]
            node.payload = b""
            node.inside = _parsed(data, min(begin + length, stop), stop)
        found.append(node)
    return found


def _all(nodes: list[Node]) -> list[tuple[Node, list[Node]]]:
    found = [(node, nodes) for node in nodes]
    for node in nodes:
        if node.kind == FOLDER:
            found += _all(node.inside)
    return found
