"""Read and write otadata like esp-idf: which slot boots, and whether it is confirmed."""

import binascii
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LABELS = ("ota_0", "ota_1")
NEW, PENDING_VERIFY, VALID, INVALID, ABORTED = range(5)
UNDEFINED = _BLANK = 0xFFFFFFFF
SIZE = 32

_LAYOUT = struct.Struct("<I20sII")


@dataclass(frozen=True)
class Entry:
    """The contents of one of otadata's two sectors."""

    seq: int
    state: int
    crc_ok: bool

    @property
    def valid(self) -> bool:
        """Return whether the entry counts."""
        return self.seq != _BLANK and self.state not in (INVALID, ABORTED) and self.crc_ok

    @property
    def slot(self) -> str:
        return LABELS[(self.seq - 1) % len(LABELS)]


def parse(data: bytes) -> Entry:
    """Parse the entry at the beginning of a sector."""
    seq, _, state, crc = _LAYOUT.unpack_from(data)
    return Entry(seq, state, crc == _crc(seq))


def pack(seq: int, state: int) -> bytes:
    """Return an entry's bytes."""
    return _LAYOUT.pack(seq, b"\xff" * 20, state, _crc(seq))


def _crc(seq: int) -> int:
    return binascii.crc32(struct.pack("<I", seq), _BLANK)


def active(entries: Sequence[Entry]) -> Entry | None:
    """Return the valid entry with the higher sequence."""
    return max((e for e in entries if e.valid), key=lambda e: e.seq, default=None)


def would_boot(entries: Sequence[Entry], bootable: Callable[[str], bool]) -> str | None:
    """Return the slot that the next start boots; None if no image is bootable."""
    # The trial ended with a start without a confirmation.
    chosen = active([e for e in entries if e.state != PENDING_VERIFY])
    first = chosen.slot if chosen else LABELS[0]
    return next(
        (label for label in sorted(LABELS, key=lambda x: x != first) if bootable(label)), None
    )
