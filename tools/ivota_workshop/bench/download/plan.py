"""What happens to each update of the soak: sizes, rates and faults, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .stage import Answer

SIZES = 120_000, 708_482  # bytes of a firmware
RATES = 100_000, 400_000  # bytes per second of the server
KINDS = ("fin", "rst", "silence", "stall", "status", "whole", "link")


@dataclass(frozen=True)
class Plan:
    """One update: a function of seed and number alone.

    `answers` are the server's, `links` the bytes after which the broker's connection is cut, and
    how. `power`: where the flash dies, as a share of the download, or None.
    """

    number: int
    size: int
    rate: int
    segment: int
    kinds: list[str]
    answers: list[Answer]
    links: list[tuple[int, str]]
    power: tuple[float, str] | None


@dataclass
class Result:
    """How an update went. `again` is what was sent more than once, in bytes, less what a server
    sent that ignored the range; that is `ignored`."""

    number: int
    ended: str  # "done", or what was wrong
    size: int = 0
    kinds: list[str] = field(default_factory=list)
    power_cuts: int = 0
    again: int = 0
    ignored: int = 0
    seconds: float = 0.0


def plan(seed: int, number: int) -> Plan:
    chance = random.Random(f"{seed} {number}")
    size = chance.randint(*SIZES)
    kinds = [chance.choice(KINDS) for _ in range(chance.randint(2, 4))]
    # The broker's connection is cut once at most: where it is silent, that takes time to be seen.
    while kinds.count("link") > 1:
        kinds[kinds.index("link")] = chance.choice(KINDS)
    answers, links = [], []
    for kind in kinds:
        # So short that all of them have their turn before the firmware is whole.
        after = chance.randint(0, size // (len(kinds) + 2))
        if kind == "link":
            links.append((chance.randint(1, size // 2), chance.choice(("fin", "rst", "silence"))))
        elif kind == "status":
            answers.append(Answer(status=chance.choice((500, 502, 503)), retry_after=0))
        elif kind == "whole":
            answers.append(Answer(whole=True, ends_after=after))
        else:
            stall_s, more = chance.uniform(0.2, 1), size // 50
            answers.append(Answer(ends_after=after, end=kind, stall_s=stall_s, more=more))
    power = None
    if number % 3 == 0:
        power = chance.random(), chance.choice(("die", "part", "random"))
    rate = chance.randint(*RATES)
    return Plan(number, size, rate, chance.choice((536, 1436)), kinds, answers, links, power)
