"""Count the results of all cases."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from .cases import Result

Cell = tuple[str, str, str, str]  # kind of cut, storage, payload, scenario


@dataclass
class Tally:
    """The counts of all results so far."""

    cells: collections.Counter[Cell] = field(default_factory=collections.Counter)
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    doubles: int = 0
    randoms: int = 0
    armed: int = 0
    between: int = 0
    errors: int = 0
    full: int = 0
    flips: int = 0
    loss: dict[str, int] = field(default_factory=dict)
    cases: int = 0
    wrong_cases: int = 0

    def add(self, result: Result) -> None:
        self.cases += 1
        self.faults.update({each.sort for each in result.faults})
        self.wrong_cases += bool(result.faults)
        if result.sort in ("single", "double"):
            self.cells[result.cell] += 1
        self.doubles += result.sort == "double"
        self.randoms += result.sort == "random" and result.cuts == 5
        self.armed += result.sort == "armed"
        self.between += result.sort == "between"
        self.errors += result.sort == "error"
        self.full += result.sort == "full"
        self.flips += result.sort == "flip"
        if result.lost_most is not None:
            storage = result.cell[1]
            self.loss[storage] = max(self.loss.get(storage, 0), result.lost)

    @property
    def states(self) -> int:
        return sum(self.cells.values())
