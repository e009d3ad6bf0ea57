"""The description of a target, and the list of all targets."""

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
    """A planted fault: (file, text, its replacement); each text occurs once in its file."""

    name: str
    changes: tuple[tuple[str, str, str], ...]

    def apply(self, path: str, source: str) -> str:
        """Return `source` with the mistake in it, if `path` is its file. Raises ValueError if the
        text to replace is gone."""
        for file, text, instead in self.changes:
            if path.endswith("/" + file):
                if source.count(text) != 1:
                    raise ValueError(f"{self.name}: {file} has not once {text!r}")
                source = source.replace(text, instead)
        return source


@dataclass(frozen=True)
class Bound:
    """A limit that consists of a constant and an amount per byte of the input."""

    base: int
    per_byte: int

    def of(self, size: int) -> int:
        return self.base + self.per_byte * size


@dataclass(frozen=True)
class Target:
    """One parser: `about` in a few words, `seeds` by name, and the faults that it has to find.

    `device` says whether its check is device/fuzz_NAME.py, otherwise it is host/NAME.py; `code`
    lists the files whose coverage guides. `most` is the longest input in bytes. `mutate` changes
    an input within its format. `lines` limits the lines of code that run for one input, `memory`
    CPython's peak of bytes. `reference` is an independent implementation that the check may
    compare with on CPython. `words` often occur in valid inputs. `compares`: comparisons guide
    too, which is slow if every byte is compared. `files` are stored beside the input on flash.
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
        """Return the name, which is that of its file."""
        return next(name for name, target in targets().items() if target is self)


def names() -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules([str(HERE / "targets")]))


def load(name: str) -> Target:
    """Load a target. Raises KeyError if there is none of that name."""
    if name not in names():
        raise KeyError(name)
    found: Target = importlib.import_module(f"{__package__}.targets.{name}").TARGET
    return found


def targets() -> dict[str, Target]:
    return {name: load(name) for name in names()}


def corpus(name: str) -> dict[str, bytes]:
    """Return the inputs from which a target's runs start, by name: rebuilt from its seeds."""
    return dict(load(name).seeds())


def mistakes() -> Iterator[tuple[str, int, Mistake]]:
    """Return (target, the mistake's index in it, mistake) of all planted faults."""
    for name, target in targets().items():
        for number, mistake in enumerate(target.mistakes):
            yield name, number, mistake
