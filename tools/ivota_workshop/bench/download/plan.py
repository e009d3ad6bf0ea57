"""The plan of each update of the soak: sizes, rates and faults, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from .stage import Answer

SIZES = 120_000, 708_482  # bytes of firmware
RATES = 100_000, 400_000  # the server's bytes per second
KINDS = ("fin", "rst", "silence", "stall", "status", "whole", "link")


@dataclass(frozen=True)
class Plan:
    """One update, determined by seed and number alone.

    `answers` are the server's, `links` holds the bytes after which the broker's connection is cut,
    and how. `power`: when the power is cut, as a share of the download, or None.
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
    """The result of an update. `again` counts the bytes that were sent more than once, without
    those of a server that ignored the range, which are counted as `ignored`."""

    number: int
    ended: str  # "done", or the problem
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
    # Cut the broker's connection at most once: silence takes time to be detected.
    while kinds.count("link") > 1:
        kinds[kinds.index("link")] = chance.choice(KINDS)
    answers, links = [], []
    for kind in kinds:
        # So short that every answer is used before the firmware is complete.
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
