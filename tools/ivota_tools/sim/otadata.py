"""otadata as esp-idf keeps it: which slot boots, and how far that is proven."""

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
    """What one of otadata's two sectors holds."""

    seq: int
    state: int
    crc_ok: bool

    @property
    def valid(self) -> bool:
        """Whether it has a say in what boots."""
        return self.seq != _BLANK and self.state not in (INVALID, ABORTED) and self.crc_ok

    @property
    def slot(self) -> str:
        return LABELS[(self.seq - 1) % len(LABELS)]


def parse(data: bytes) -> Entry:
    """The entry that a sector begins with."""
    seq, _, state, crc = _LAYOUT.unpack_from(data)
    return Entry(seq, state, crc == _crc(seq))


def pack(seq: int, state: int) -> bytes:
    """An entry's bytes."""
    return _LAYOUT.pack(seq, b"\xff" * 20, state, _crc(seq))


def _crc(seq: int) -> int:
    return binascii.crc32(struct.pack("<I", seq), _BLANK)


def active(entries: Sequence[Entry]) -> Entry | None:
    """The entry that decides: the valid one of the higher sequence."""
    return max((e for e in entries if e.valid), key=lambda e: e.seq, default=None)


def would_boot(entries: Sequence[Entry], bootable: Callable[[str], bool]) -> str | None:
    """The slot that the next start boots; None where no image is bootable."""
    # A start without a confirmation was the trial's last.
    chosen = active([e for e in entries if e.state != PENDING_VERIFY])
    first = chosen.slot if chosen else LABELS[0]
    return next(
        (label for label in sorted(LABELS, key=lambda x: x != first) if bootable(label)), None
    )
