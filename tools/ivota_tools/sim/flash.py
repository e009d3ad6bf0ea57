"""A flash image on the host: made, read, counted, told to fail, and torn."""

import hashlib
import os
import random
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.sim import filesystem, otadata
from ivota_tools.sim.esp32_image import is_valid
from ivota_tools.sim.filesystem import BLOCK, FlashError, Memory

# Words of the state file, in device/_sim_flash.py's order; the board has no use for the last two.
_WORDS = (
    "reads", "read_bytes", "programs", "program_bytes", "erases", "operations", "fault_at",
    "fault_read_at", "fault_kinds", "fault_is_error", "errors", "died_in", "violation", "block",
    "offset", "size", "tear", "seed",
)  # fmt: skip
_LAYOUT = struct.Struct(f"<{len(_WORDS)}I")
_COUNTS = ("operations", "programs", "erases", "reads", "program_bytes", "read_bytes", "errors")
# Where device/_sim_flash.py has them mapped, the state file and the image; each further flash
# lies that much behind.
_STATE_ADDRESS, _IMAGE_ADDRESS, _APART = 0x1FF00000, 0x20000000, 0x8000000
_NEVER = (1 << 30) - 1  # the largest small integer of a 32-bit MicroPython
_KINDS = {"program": 1, "erase": 2, "write": 3, "read": 4, "any": 7}
_TEARS = ("", "part", "random")
_PROGRAM_UNIT = 32


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when.

    `at` counts operations from the first, which is 0: programs and erases together, or reads where
    `on` is "read". It happens at the first operation of that kind from there on.
    `kind`: "die", the power fails before it; "part", in the middle of it, when a first part is
    done; "random", in the middle of it, with random bits (of a program's last unit, of a whole
    erased block); "error", it and all later ones of the kind fail with OSError, until disarmed.
    `on`: "program", "erase", "write" (either), "read", "any" (for "error": reads fail from read
    number `at` on, writes from operation number `at`).
    """

    kind: str
    at: int
    on: str = "write"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("die", "part", "random", "error") or self.on not in _KINDS:
            raise ValueError(f"no such fault: {self}")
        if self.at < 0 or (self.on == "read" and self.kind in ("part", "random")):
            raise ValueError(f"no such fault: {self}")


@dataclass(frozen=True)
class Death:
    """The operation in which the flash died."""

    on: str
    operation: int
    block: int
    offset: int
    size: int
    tear: str  # "part", "random", or "" where it died before the operation


class Flash:
    """The image file `path`, and beside it the state file with counters and the armed fault.

    `blocks` of it are the file system's. With `slots`, an ESP32's other partitions follow: otadata
    of two blocks, and ota_0 and ota_1 of that many each.
    """

    def __init__(self, path: Path, blocks: int = 512, slots: int = 0):
        self.path = path
        self.state_path = path.with_suffix(".state")
        self.blocks = blocks
        self.slots = slots

    @property
    def size(self) -> int:
        """Of the whole flash, in bytes."""
        return (self.blocks + (2 + 2 * self.slots if self.slots else 0)) * BLOCK

    def arguments(self) -> list[str]:
        """What tells the board of it."""
        place = [str(self.path.resolve()), str(self.state_path.resolve()), str(self.blocks)]
        return ["+", *place, str(self.slots)] if self.slots else place

    def addresses(self, number: int) -> dict[int, Path]:
        """Where a board has its files in memory, as the first of its flashes or a later one."""
        behind = number * _APART
        return {
            _STATE_ADDRESS + behind: self.state_path.resolve(),
            _IMAGE_ADDRESS + behind: self.path.resolve(),
        }

    # --- content

    def blank(self) -> None:
        """Erases all of it. Counters at 0, no fault armed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"\xff" * self.size)
        self.reset_state()

    def format(self, files: Mapping[str, bytes] | None = None) -> None:
        """Makes a fresh littlefs with these files on it, counters at 0, no fault armed.

        What else is on the flash is erased.
        """
        image = filesystem.formatted(self.blocks, files or {})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(image.ljust(self.size, b"\xff"))
        self.reset_state()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes files from outside; for a board that is off. Not counted."""
        self.settle()
        context = self._content()
        filesystem.put(filesystem.mounted(context, self.blocks, self.path.name), files)
        with self.path.open("r+b") as image:  # in place: the file may be mapped
            image.write(context.buffer)

    def _content(self) -> Memory:
        return Memory(bytearray(self._read(0, self.blocks)))

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises FlashError, FileNotFoundError."""
        return filesystem.read(self._read(0, self.blocks), self.blocks, path, self.path.name)

    def listdir(self, path: str = "/") -> list[str]:
        system = filesystem.mounted(self._content(), self.blocks, self.path.name)
        return sorted(system.listdir(path))

    def tree(self) -> dict[str, bytes]:
        """Every file, path → bytes. Raises FlashError."""
        return filesystem.tree(self._read(0, self.blocks), self.blocks, self.path.name)

    def _read(self, block: int, blocks: int) -> bytes:
        with self.path.open("rb") as image:
            image.seek(block * BLOCK)
            return image.read(blocks * BLOCK)

    # --- an ESP32's partitions

    def slot(self, label: str) -> bytes:
        """All bytes of "ota_0" or "ota_1"."""
        return self._read(self._first(label), self.slots)

    def write_slot(self, label: str, data: bytes) -> None:
        """Writes a slot from outside, all else of it erased; for a board that is off. Not counted.

        Raises ValueError where it does not fit.
        """
        size = self.slots * BLOCK
        if len(data) > size:
            raise ValueError(f"{len(data)} bytes do not fit a slot of {size}")
        self._write(self._first(label), data.ljust(size, b"\xff"))

    def otadata(self) -> tuple[otadata.Entry, otadata.Entry]:
        """What its two sectors hold."""
        first, second = (otadata.parse(self._read(self._otadata(n), 1)) for n in (0, 1))
        return first, second

    def write_otadata(self, sector: int, data: bytes) -> None:
        """Writes sector 0 or 1, all else of it erased, as `write_slot()` does."""
        self._write(self._otadata(sector), data.ljust(BLOCK, b"\xff"))

    def would_boot(self) -> str | None:
        """The slot that the next start boots, as things are; None where it would boot none."""
        return otadata.would_boot(self.otadata(), lambda label: is_valid(self.slot(label)))

    def _otadata(self, sector: int) -> int:
        if not self.slots:
            raise FlashError("this flash has no slots")
        return self.blocks + sector

    def _first(self, label: str) -> int:
        return self._otadata(2) + otadata.LABELS.index(label) * self.slots

    def _write(self, block: int, data: bytes) -> None:
        self.settle()
        with self.path.open("r+b") as image:
            image.seek(block * BLOCK)
            image.write(data)

    # --- as a whole

    def digest(self) -> str:
        """The SHA-256 of the whole image."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def copy(self, path: Path) -> "Flash":
        """The same flash in another file, counters and all, no fault armed. Tears first."""
        self.settle()
        other = Flash(path, self.blocks, self.slots)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path, other.path)
        shutil.copyfile(self.state_path, other.state_path)
        other.disarm()
        return other

    # --- counters and faults

    def reset_state(self) -> None:
        """Sets every counter to 0 and disarms."""
        pages = _LAYOUT.pack(*(0 for _ in _WORDS)).ljust(BLOCK, b"\0"), b"\xff" * BLOCK
        self.state_path.write_bytes(b"".join(pages) + b"\0" * BLOCK)
        self.disarm()

    def counts(self) -> dict[str, int]:
        """`operations` (= `programs` + `erases`), `reads`, bytes, `errors`."""
        words = self._words()
        return {name: words[name] for name in _COUNTS}

    def arm(self, fault: Fault) -> None:
        """Takes effect at once, on a running board too."""
        reads = _NEVER if fault.on in ("program", "erase", "write") else fault.at
        writes = _NEVER if fault.on == "read" else fault.at
        self._set(
            fault_kinds=_KINDS[fault.on],
            fault_is_error=int(fault.kind == "error"),
            tear=_TEARS.index(fault.kind) if fault.kind in _TEARS else 0,
            seed=fault.seed,
            fault_at=writes,
            fault_read_at=reads,
        )

    def disarm(self) -> None:
        self._set(fault_at=_NEVER, fault_read_at=_NEVER, fault_kinds=0)

    def violation(self) -> str | None:
        """What was programmed without having been erased, or None."""
        words = self._words()
        if not words["violation"]:
            return None
        return (
            f"block {words['block']}, offset {words['offset']}: {words['size']} bytes programmed "
            f"that were not erased (after {words['operations']} operations)"
        )

    def settle(self) -> Death | None:
        """After a death in an armed fault: does what was torn, disarms, and tells what it was.

        For a process that has ended. None if the flash did not die, or was settled before.
        """
        words = self._words()
        if not words["died_in"]:
            return None
        on = next(name for name, number in _KINDS.items() if number == words["died_in"])
        tear = _TEARS[words["tear"]] if on != "read" else ""
        if tear:
            self._tear(on, words, tear)
        self._set(died_in=0)
        self.disarm()
        return Death(on, words["operations"], words["block"], words["offset"], words["size"], tear)

    def _tear(self, on: str, words: dict[str, int], tear: str) -> None:
        chance = tear_chance(words["seed"], tear, words["operations"])
        start = words["block"] * BLOCK + words["offset"]
        size = words["size"] if on == "program" else BLOCK
        with self.state_path.open("rb") as state:
            state.seek(2 * BLOCK)
            data = state.read(size) if on == "program" else b"\xff" * size
        with self.path.open("r+b") as image:
            image.seek(start)
            new = torn(image.read(size), data, on, tear, chance)
            image.seek(start)
            image.write(new)

    def _words(self) -> dict[str, int]:
        with self.state_path.open("rb") as state:
            return dict(zip(_WORDS, _LAYOUT.unpack(state.read(_LAYOUT.size)), strict=True))

    def _set(self, **words: int) -> None:
        with self.state_path.open("r+b") as state:
            for name, value in words.items():
                os.pwrite(state.fileno(), struct.pack("<I", value), 4 * _WORDS.index(name))


def tear_chance(seed: int, tear: str, operation: int) -> random.Random:
    """What draws how far a torn operation came: the same for the same cut."""
    return random.Random(f"{seed} {tear} {operation}")


def torn(old: bytes, data: bytes, on: str, tear: str, chance: random.Random) -> bytes:
    """What lies there after a part of an operation: `data` is what it was to leave.

    `on` and `tear` as a Fault has them, "program" or "erase", "part" or "random".
    """
    if tear == "part":
        done = chance.randrange(1, len(data))
        return data[:done] + old[done:]
    if on == "erase":
        return chance.randbytes(len(data))
    done = chance.randrange(0, len(data), _PROGRAM_UNIT)
    unit = data[done : done + _PROGRAM_UNIT]
    # A program only clears bits: some of those it was to clear.
    half = bytes(a | b for a, b in zip(unit, chance.randbytes(len(unit)), strict=True))
    return data[:done] + half + old[done + len(half) :]
