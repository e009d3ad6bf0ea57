"""Define the parts of a patch: its header, its records and their limits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"IVOTADLT"
FORMAT = 1
KINDS = ("bundle", "esp32-image")  # kinds of results, in the order of their numbers
WINDOW = 10  # bits: a board's heap has little more room than this window's 1 KiB
WINDOWS = range(9, 13)
SIZE_MOST = (1 << 32) - 1

HEADER = struct.Struct("<8s4BI16sI32s16s")  # the base's version follows
PIECE = 1024  # maximum bytes of a copy with changes
GROUP = 32  # records whose heads are stored together
CHANGES_MOST = 255  # in a record
GAP_MOST = 255  # maximum number of words from one change to the next
RUN_MOST = 0xFFFF  # maximum bytes that a record copies or inserts


class PatchError(ValueError):
    """The data is not a patch, cannot become one, or does not match its base."""


@dataclass(frozen=True)
class Record:
    """A step: `move` in the base, `copy` bytes of it with `changes`, then add `inserted` bytes.

    A change is (index of a 16-bit word in the copy, number to add to it modulo 65,536).
    """

    move: int
    copy: int
    changes: tuple[tuple[int, int], ...]
    inserted: bytes


@dataclass(frozen=True)
class Patch:
    """The header of a patch. Sizes in bytes, `window` in bits, digests in hexadecimal.

    `base_size` is 0 for compressed firmware; the stream starts at `header_size`.
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
    """Totals of a patch: copied and inserted bytes, and changed words."""

    records: int
    copied: int
    changed: int
    inserted: int
