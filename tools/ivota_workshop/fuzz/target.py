"""What a target says of itself, and where to find them all."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Mistake:
    """A planted fault: (file, text, what stands in its place), each text once in its file."""

    name: str
    changes: tuple[tuple[str, str, str], ...]

    def apply(self, path: str, source: str) -> str:
        """`source` with the mistake in it, where it lies at `path`. Raises ValueError where the
        code is another by now."""
        for file, text, instead in self.changes:
            if path.endswith("/" + file):
                if source.count(text) != 1:
                    raise ValueError(f"{self.name}: {file} has not once {text!r}")
                source = source.replace(text, instead)
        return source


@dataclass(frozen=True)
class Bound:
    """At most so much, and so much more for each byte of the input."""

    base: int
    per_byte: int

    def of(self, size: int) -> int:
        return self.base + self.per_byte * size


@dataclass(frozen=True)
class Target:
    """One parser: `about` in a few words, `seeds` by name, and the faults that it has to find.

    `device` says whether its check is device/fuzz_NAME.py, else it is host/NAME.py; `code` are the
    files whose coverage guides. `most` is the longest input in bytes. `mutate` changes an input
    within its format. `lines` bounds how many lines of the code run for one input, `memory` the
    peak of bytes that CPython takes for it. `reference` is what the check may compare with, where
    it runs on CPython. `words` often stand in good inputs. `compares`: comparisons guide, too,
    which takes time where each byte is compared. `files` lie beside the input on the flash.
    """

    about: str
    code: tuple[str, ...]
    seeds: Callable[[], Mapping[str, bytes]]
    mistakes: tuple[Mistake, ...]
    device: bool = True
    most: int = 4096
    mutate: Mutate | None = None
    lines: Bound = field(default=Bound(2_000, 20))
    memory: Bound = field(default=Bound(200_000, 400))
    reference: Callable[..., Any] | None = None
    words: tuple[str, ...] = ()
    compares: bool = True
    files: Callable[[], Mapping[str, bytes]] = dict

    @property
    def name(self) -> str:
        """As its file's."""
        return next(name for name, target in targets().items() if target is self)


def names() -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules([str(HERE / "targets")]))


def load(name: str) -> Target:
    """Raises KeyError for a name that is none."""
    if name not in names():
        raise KeyError(name)
    found: Target = importlib.import_module(f"{__package__}.targets.{name}").TARGET
    return found


def targets() -> dict[str, Target]:
    return {name: load(name) for name in names()}


def corpus(name: str) -> dict[str, bytes]:
    """The inputs that a target's runs start from, by their names: made anew from its seeds."""
    return dict(load(name).seeds())


def mistakes() -> Iterator[tuple[str, int, Mistake]]:
    """(target, the how manieth of its, mistake)"""
    for name, target in targets().items():
        for number, mistake in enumerate(target.mistakes):
            yield name, number, mistake
