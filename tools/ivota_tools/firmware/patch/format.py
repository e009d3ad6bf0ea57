"""What a patch consists of: its header, its records, and how much each of them may hold."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"IVOTADLT"
FORMAT = 1
KINDS = ("bundle", "esp32-image")  # of results, in the order of their numbers
WINDOW = 10  # bits: a board unpacks in a heap that has little more than this window's 1 KiB
WINDOWS = range(9, 13)
SIZE_MOST = (1 << 32) - 1

HEADER = struct.Struct("<8s4BI16sI32s16s")  # the base's version follows
PIECE = 1024  # bytes: a copy in which something changes has no more
GROUP = 32  # records, whose heads come together
CHANGES_MOST = 255  # in a record
GAP_MOST = 255  # words from one change to the next
RUN_MOST = 0xFFFF  # bytes that one record copies, or inserts


class PatchError(ValueError):
    """What is no patch, or can't become one, or does not fit its base; says why."""


@dataclass(frozen=True)
class Record:
    """One step: `move` in the base, `copy` bytes of it with `changes`, then `inserted` bytes.

    A change is (number of a 16-bit word in the copy, what is added to it, modulo 65,536).
    """

    move: int
    copy: int
    changes: tuple[tuple[int, int], ...]
    inserted: bytes


@dataclass(frozen=True)
class Patch:
    """What a patch says of itself. Sizes in bytes, `window` in bits, digests in hexadecimal.

    `base_size` is 0 for a compressed firmware; `header_size` is where its stream begins.
    """

    kind: str
    window: int
    base_version: str
    base_size: int
    base_md5: str
    result_size: int
    result_sha256: str
    result_md5: str
    header_size: int


@dataclass(frozen=True)
class Summary:
    """What a patch does to its base: bytes that are copied and inserted, words that change."""

    records: int
    copied: int
    changed: int
    inserted: int
