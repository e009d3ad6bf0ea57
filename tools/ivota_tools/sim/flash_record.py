"""Read a record of flash operations, and repeat it on an image, whole or in part."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.sim.filesystem import BLOCK

_HEAD = struct.Struct("<5I")  # as written by device/_sim_record.py
_PROGRAM = 1


@dataclass(frozen=True)
class Operation:
    """A program of `data`, or an erase if `data` is None.

    `received` is the value of the board's `_sim_record.received`, for measurements.
    """

    block: int
    offset: int
    data: bytes | None
    received: int

    def apply(self, image: bytearray) -> None:
        start = self.block * BLOCK + self.offset
        if self.data is None:
            image[start : start + BLOCK] = b"\xff" * BLOCK
        else:
            image[start : start + len(self.data)] = self.data

    def tear(self, image: bytearray, seed: int) -> None:
        """Apply a first part of it, as a power cut in the middle would."""
        start = self.block * BLOCK + self.offset
        whole = b"\xff" * BLOCK if self.data is None else self.data
        done = random.Random(seed).randrange(1, len(whole))
        image[start : start + done] = whole[:done]


def operations(path: Path) -> Iterator[Operation]:
    """Read the `record` of a `Board(record=True)` from the beginning."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            kind, block, offset, size, received = _HEAD.unpack(head)
            data = file.read(size) if kind == _PROGRAM else None
            yield Operation(block, offset, data, received)
