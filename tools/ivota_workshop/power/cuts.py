"""Power cuts: the flash after a cut before or during any operation of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ivota_tools.sim import Fault, Operation, operations
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.sim.flash import tear_chance, torn

from .bench import Bench, Run, Said, is_final
from .scenario import Scenario

KINDS = ("die", "part", "random")
AFTER = "after"


@dataclass(frozen=True)
class Cut:
    """A power cut at operation `at`: before it ("die"), after its first part ("part"), or with
    random bits in its target ("random"), by `seed`; or after it, before any further communication
    ("after")."""

    kind: str
    at: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}@{self.at}" + (f"s{self.seed}" if self.seed else "")

    @classmethod
    def parse(cls, text: str) -> Cut:
        kind, found, rest = text.partition("@")
        at, _, seed = rest.partition("s")
        if kind not in (*KINDS, AFTER) or not found:
            raise ValueError(f"no such cut: {text}")
        return cls(kind, int(at), int(seed or 0))

    def fault(self, before: int = 0) -> Fault:
        """Return the cut as an armed fault, for a flash with so many earlier operations."""
        return Fault(self.kind, before + self.at, seed=self.seed)


@dataclass(frozen=True)
class Known:
    """What the cloud knows at the power cut, and how much of the firmware was received by then."""

    events: tuple[str | Said, ...] = ()
    have: int = 0

    def satisfied(self, scenario: Scenario) -> bool:
        """Return whether the cloud has its final report."""
        return any(
            isinstance(each, Said) and is_final(each.report, scenario.again)
            for each in self.events
        )


@dataclass
class Recording:
    """A run that started on `image`, with its flash operations."""

    image: bytes
    known: Known
    operations: list[Operation]
    run: Run
    final: bytes
    reads: int = 0

    def known_at(self, at: int) -> Known:
        """Return what the cloud knows before operation `at`."""
        if at >= len(self.operations):
            return after(self.known, self.run)
        noted = self.operations[at].received
        heard = noted >> 20
        events: list[str | Said] = []
        for event in self.run.events:
            if isinstance(event, Said):
                if not heard:
                    break
                heard -= 1
            events.append(event)
        return Known((*self.known.events, *events), noted & 0xFFFFF)


def after(known: Known, run: Run) -> Known:
    return Known((*known.events, *run.events), run.have)


def record(bench: Bench, image: bytes, known: Known) -> Recording:
    """Run a board from that state to the end, undisturbed."""
    bench.load(image)
    run = bench.run(known.satisfied(bench.stage.scenario), known.have, record=True)
    reads = bench.flash.counts()["reads"]
    return Recording(image, known, list(operations(bench.log)), run, bench.image(), reads)


def tear(image: bytearray, operation: Operation, cut: Cut) -> None:
    """Apply part of an operation, like the simulator's Flash when the board dies in it."""
    start = operation.block * BLOCK + operation.offset
    data = b"\xff" * BLOCK if operation.data is None else operation.data
    place = slice(start, start + len(data))
    on = "erase" if operation.data is None else "program"
    chance = tear_chance(cut.seed, cut.kind, cut.at)
    image[place] = torn(bytes(image[place]), data, on, cut.kind, chance)


class Images:
    """The flash and its digest after cuts of a recording, in the order of their operations."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._image = bytearray(recording.image)
        self._at = 0
        self._digests = [self._digest(n) for n in range(len(self._image) // BLOCK)]
        self._sum = 0
        for digest in self._digests:
            self._sum ^= digest

    def _digest(self, block: int, image: bytearray | None = None) -> int:
        data = memoryview(image or self._image)[block * BLOCK : (block + 1) * BLOCK]
        key = block.to_bytes(4, "little")
        return int.from_bytes(hashlib.blake2b(data, digest_size=16, key=key).digest(), "little")

    def go(self, at: int) -> None:
        """Advance to the state before operation `at`; it cannot go back."""
        for operation in self._recording.operations[self._at : at]:
            operation.apply(self._image)
            self._sum ^= self._digests[operation.block]
            self._digests[operation.block] = self._digest(operation.block)
            self._sum ^= self._digests[operation.block]
        self._at = max(at, self._at)

    def cut(self, cut: Cut) -> tuple[bytearray, int]:
        """Return the flash after the cut, and its digest."""
        self.go(cut.at)
        image = bytearray(self._image)
        if cut.kind == "die":
            return image, self._sum
        operation = self._recording.operations[cut.at]
        if cut.kind == AFTER:
            operation.apply(image)
        else:
            tear(image, operation, cut)
        n = operation.block
        return image, self._sum ^ self._digests[n] ^ self._digest(n, image)

    def each(self, cuts: Iterable[Cut]) -> Iterator[tuple[Cut, bytearray, int]]:
        for cut in sorted(cuts, key=lambda cut: cut.at):
            yield cut, *self.cut(cut)
