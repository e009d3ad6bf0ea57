"""Create, read, count, break and tear a flash image on the host."""

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

# Words of the state file, in the order of device/_sim_flash.py. The board ignores the last two.
_WORDS = (
    "reads", "read_bytes", "programs", "program_bytes", "erases", "operations", "fault_at",
    "fault_read_at", "fault_kinds", "fault_is_error", "errors", "died_in", "violation", "block",
    "offset", "size", "tear", "seed",
)  # fmt: skip
_LAYOUT = struct.Struct(f"<{len(_WORDS)}I")
_COUNTS = ("operations", "programs", "erases", "reads", "program_bytes", "read_bytes", "errors")
# Addresses at which device/_sim_flash.py maps the state file and the image; each further flash
# follows at the same distance.
_STATE_ADDRESS, _IMAGE_ADDRESS, _APART = 0x1FF00000, 0x20000000, 0x8000000
_NEVER = (1 << 30) - 1  # the largest small integer of a 32-bit MicroPython
_KINDS = {"program": 1, "erase": 2, "write": 3, "read": 4, "any": 7}
_TEARS = ("", "part", "random")
_PROGRAM_UNIT = 32


@dataclass(frozen=True)
class Fault:
    """A fault of the flash, and its position.

    `at` counts operations from 0: programs and erases together, or reads if `on` is "read". The
    fault happens at the first matching operation from there on.
    `kind`: "die": the power fails before the operation; "part": in the middle, when a first part
    is done; "random": in the middle, leaving random bits (in a program's last unit, or in a whole
    erased block); "error": this and all later matching operations raise OSError until disarmed.
    `on`: "program", "erase", "write" (either), "read", or "any" (for "error": reads fail from read
    number `at` on, writes from operation number `at` on).
    """

    kind: str
    at: int
    on: str = "write"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("die", "part", "random", "error") or self.on not in _KINDS:
            raise ValueError(f"not a valid fault: {self}")
        if self.at < 0 or (self.on == "read" and self.kind in ("part", "random")):
            raise ValueError(f"not a valid fault: {self}")


@dataclass(frozen=True)
class Death:
    """The operation in which the flash died."""

    on: str
    operation: int
    block: int
    offset: int
    size: int
    tear: str  # "part", "random", or "" if it died before the operation

    @property
    def words(self) -> str:
        """For example `operation 12, half done: erase at block 3, offset 0`."""
        half = ", half done" if self.tear else ""
        place = f"block {self.block}, offset {self.offset}"
        return f"operation {self.operation}{half}: {self.on} at {place}"


class Flash:
    """The image file `path`; next to it a state file with counters and the armed fault.

    `blocks` belong to the file system. With `slots`, the other partitions of an ESP32 follow:
    otadata of two blocks, and ota_0 and ota_1 of that many blocks each.
    """

    def __init__(self, path: Path, blocks: int = 512, slots: int = 0):
        self.path = path
        self.state_path = path.with_suffix(".state")
        self.blocks = blocks
        self.slots = slots

    @property
    def size(self) -> int:
        """Return the size of the whole flash in bytes."""
        return (self.blocks + (2 + 2 * self.slots if self.slots else 0)) * BLOCK

    def arguments(self) -> list[str]:
        """Return the arguments that tell the board about it."""
        place = [str(self.path.resolve()), str(self.state_path.resolve()), str(self.blocks)]
        return ["+", *place, str(self.slots)] if self.slots else place

    def addresses(self, number: int) -> dict[int, Path]:
        """Return where a board maps the files, as the first of its flashes or a later one."""
        behind = number * _APART
        return {
            _STATE_ADDRESS + behind: self.state_path.resolve(),
            _IMAGE_ADDRESS + behind: self.path.resolve(),
        }

    # --- content

    def blank(self) -> None:
        """Erase everything, reset the counters, disarm the fault."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"\xff" * self.size)
        self.reset_state()

    def format(self, files: Mapping[str, bytes] | None = None) -> None:
        """Create a littlefs with these files, reset the counters, disarm the fault.

        Everything else on the flash is erased.
        """
        image = filesystem.formatted(self.blocks, files or {})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(image.ljust(self.size, b"\xff"))
        self.reset_state()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files from outside, while the board is off. Not counted."""
        self.settle()
        context = self._content()
        filesystem.put(filesystem.mounted(context, self.blocks, self.path.name), files)
        with self.path.open("r+b") as image:  # in place: the file may be mapped
            image.write(context.buffer)

    def _content(self) -> Memory:
        return Memory(bytearray(self._read(0, self.blocks)))

    def read(self, path: str) -> bytes:
        """Read a file. Raises FlashError, FileNotFoundError."""
        return filesystem.read(self._read(0, self.blocks), self.blocks, path, self.path.name)

    def listdir(self, path: str = "/") -> list[str]:
        system = filesystem.mounted(self._content(), self.blocks, self.path.name)
        return sorted(system.listdir(path))

    def tree(self) -> dict[str, bytes]:
        """Return every file, path → bytes. Raises FlashError."""
        return filesystem.tree(self._read(0, self.blocks), self.blocks, self.path.name)

    def _read(self, block: int, blocks: int) -> bytes:
        with self.path.open("rb") as image:
            image.seek(block * BLOCK)
            return image.read(blocks * BLOCK)

    # --- an ESP32's partitions

    def slot(self, label: str) -> bytes:
        """Return all bytes of "ota_0" or "ota_1"."""
        return self._read(self._first(label), self.slots)

    def write_slot(self, label: str, data: bytes) -> None:
        """Write a slot from outside and erase the rest of it, while the board is off. Not counted.

        Raises ValueError if the data does not fit.
        """
        size = self.slots * BLOCK
        if len(data) > size:
            raise ValueError(f"{len(data)} bytes do not fit into a slot of {size} bytes")
        self._write(self._first(label), data.ljust(size, b"\xff"))

    def otadata(self) -> tuple[otadata.Entry, otadata.Entry]:
        """Return the contents of the two otadata sectors."""
        first, second = (otadata.parse(self._read(self._otadata(n), 1)) for n in (0, 1))
        return first, second

    def write_otadata(self, sector: int, data: bytes) -> None:
        """Write sector 0 or 1 and erase the rest of it, like `write_slot()`."""
        self._write(self._otadata(sector), data.ljust(BLOCK, b"\xff"))

    def would_boot(self) -> str | None:
        """Return the slot that the next start boots, or None."""
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

    # --- the whole flash

    def digest(self) -> str:
        """Return the SHA-256 of the whole image."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def copy(self, path: Path) -> "Flash":
        """Copy the flash and its counters to another file, after a tear; without the fault."""
        self.settle()
        other = Flash(path, self.blocks, self.slots)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path, other.path)
        shutil.copyfile(self.state_path, other.state_path)
        other.disarm()
        return other

    # --- counters and faults

    def reset_state(self) -> None:
        """Reset every counter to 0 and disarm the fault."""
        pages = _LAYOUT.pack(*(0 for _ in _WORDS)).ljust(BLOCK, b"\0"), b"\xff" * BLOCK
        self.state_path.write_bytes(b"".join(pages) + b"\0" * BLOCK)
        self.disarm()

    def counts(self) -> dict[str, int]:
        """Return `operations` (= `programs` + `erases`), `reads`, bytes and `errors`."""
        words = self._words()
        return {name: words[name] for name in _COUNTS}

    def arm(self, fault: Fault) -> None:
        """Arm a fault at once, even on a running board."""
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
        """Return a description of bytes that were programmed without an erase, or None."""
        words = self._words()
        if not words["violation"]:
            return None
        return (
            f"block {words['block']}, offset {words['offset']}: {words['size']} bytes were "
            f"programmed without an erase (after {words['operations']} operations)"
        )

    def settle(self) -> Death | None:
        """After a death in an armed fault: complete the torn operation, disarm, and return it.

        For a process that has ended. Returns None if the flash did not die, or was settled before.
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
    """Return the random generator of a torn operation: the same for the same cut."""
    return random.Random(f"{seed} {tear} {operation}")


def torn(old: bytes, data: bytes, on: str, tear: str, chance: random.Random) -> bytes:
    """Return the content after a part of an operation; `data` is the content after all of it.

    `on` and `tear` are as in a Fault: "program" or "erase", "part" or "random".
    """
    if tear == "part":
        done = chance.randrange(1, len(data))
        return data[:done] + old[done:]
    if on == "erase":
        return chance.randbytes(len(data))
    done = chance.randrange(0, len(data), _PROGRAM_UNIT)
    unit = data[done : done + _PROGRAM_UNIT]
    # A program only clears bits: here, some of those that it should clear.
    half = bytes(a | b for a, b in zip(unit, chance.randbytes(len(unit)), strict=True))
    return data[:done] + half + old[done + len(half) :]
