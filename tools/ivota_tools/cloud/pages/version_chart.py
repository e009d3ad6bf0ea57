"""Draw versions over time as an SVG: how many devices ran each, from the reported changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session

from ...common.version_order import key
from ..store.device_acceptance import ACCEPTED
from ..store.models import Change, Device

RANGES = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
# Hours of a chart whose data is younger than its range: at least two thirds of it are used.
LENGTHS = [3600 * hours for hours in (
    1 / 12, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4, 6, 9, 12, 18, 24, 36, 48,
    72, 96, 132, 168, 240, 336, 480, 720,
)]  # fmt: skip
STEPS = 97  # points of a curve
LAYERS = 5  # versions with their own colour; older ones share one
WIDTH, HEIGHT = 960, 240  # of the drawing, which is stretched to fit
OLDER, OTHER = "older", "other"
NAMED_MOST = 100  # versions that are counted individually


# What a layer counts: an application ("" unless the chart shows several) and a version of it.
_Key = tuple[str, str]


@dataclass(frozen=True)
class Layer:
    """One version: how many devices ran it at each point, and how it is drawn."""

    application: str
    version: str
    css: str
    counts: Sequence[int]
    path: str

    @property
    def name(self) -> str:
        return f"{self.application} {self.version}".strip()

    @property
    def rest(self) -> bool:
        """Whether this layer contains all versions that have no layer of their own."""
        return self.css == OLDER

    @property
    def now(self) -> int:
        return self.counts[-1]


@dataclass(frozen=True)
class Chart:
    """The chart's data for the template; `most` is the top of the scale."""

    layers: Sequence[Layer]
    times: Sequence[float]
    across: Sequence[float]  # times, evenly spaced from left to right
    days: bool  # whether the axis shows dates instead of times of day
    up: Sequence[str]  # numbers of devices, evenly spaced from the top to 0
    most: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def rows(self) -> list[tuple[float, list[int]]]:
        """Return every twelfth point and the last one, for a table."""
        chosen = sorted({*range(0, len(self.times), 12), len(self.times) - 1})
        return [(self.times[i], [layer.counts[i] for layer in self.layers]) for i in chosen]


class Changes(NamedTuple):
    """The time of the first change of a version, and the id of the last one."""

    first: float | None
    last: int | None


class Charts:
    """The charts of one database, drawn again after a version has changed or a step has ended."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str | None, bool], tuple[object, Chart]] = {}

    def versions(
        self,
        session: Session,
        changes: Changes,
        span: str,
        now: float,
        application: str | None,
        several: bool,
    ) -> Chart:
        """Draw the `span`, one of RANGES, or less if the data does not go back so far."""
        length = _length(span, changes.first, now)
        known = changes.last, length, math.ceil(now / _step(length))
        what = span, application, several
        held = self._drawn.get(what)
        if held is None or held[0] != known:
            made = versions(session, length, now, application, several)
            held = self._drawn[what] = known, made
        return held[1]


def changes(session: Session) -> Changes:
    first, last = session.execute(select(func.min(Change.at), func.max(Change.id))).one()
    return Changes(first, last)


def ranges(first: float | None, now: float) -> list[str]:
    """Return the ranges up to the shortest one that shows all changes since the first."""
    age = 0.0 if first is None else now - first
    names = list(RANGES)
    fitting = next((i for i, most in enumerate(RANGES.values()) if age <= most), len(names) - 1)
    return names[: fitting + 1]


def _length(span: str, first: float | None, now: float) -> float:
    """Return how many seconds the chart shows: at most as many as there is data for."""
    age = 0.0 if first is None else now - first
    return min(RANGES[span], next((each for each in LENGTHS if age <= each), LENGTHS[-1]))


def _step(length: float) -> float:
    """Return the seconds between two points."""
    return length / (STEPS - 1)


def versions(
    session: Session, length: float, now: float, application: str | None, several: bool
) -> Chart:
    """Count back from the versions that devices run now, with two queries for any number of
    devices.

    Counts the devices of one application if it is given, and otherwise all of them; if these run
    `several` applications, each has layers of its own.
    """
    step = _step(length)
    # Whole steps, so that the curve does not shift between two requests.
    end = math.ceil(now / step) * step
    start = end - length
    counts = _counts(session, start, step, application, several)
    other = ("", OTHER if several else OLDER)
    names = sorted(
        counts.keys() - {other}, key=lambda each: (each[0], key(each[1]), each[1]), reverse=True
    )
    used = [name for name in names if any(counts[name])]
    shown, rest = used[:LAYERS], used[LAYERS:]
    rest += [name for name in counts if name == other]
    series = [(name, counts[name]) for name in shown]
    if rest:
        series.append((other, [sum(counts[name][i] for name in rest) for i in range(STEPS)]))
    totals = [sum(values[i] for _, values in series) for i in range(STEPS)]
    most = _round_up(max([*totals, 1]))
    times = [start + step * i for i in range(STEPS)]
    # The last point is now, not the end of its step.
    times[-1] = now
    layers = []
    base = [0] * STEPS
    for number, (name, values) in reversed(list(enumerate(series))):
        top = [a + b for a, b in zip(base, values, strict=True)]
        css = OLDER if name == other else f"v{number}"
        layers.append(Layer(*name, css, values, _area(base, top, most)))
        base = top
    ticks = (1, 0.5, 0) if most % 2 == 0 else (1, 0)
    return Chart(
        layers=layers[::-1],
        times=times,
        across=[times[i] for i in range(0, STEPS, 32)],
        days=length > 2 * 86400,
        up=[f"{share * most:,.0f}" for share in ticks],
        most=most,
    )


def _counts(
    session: Session, start: float, step: float, application: str | None, several: bool
) -> dict[_Key, list[int]]:
    """Count devices by version at each point; combine the rarest of very many versions."""
    # Not a constant otherwise: no database groups by one in the same way.
    name = [func.coalesce(Device.application, "")] if several else []
    rest = ("", OTHER if several else OLDER)
    these = [Device.status == ACCEPTED]
    if application is not None:
        these.append(Device.application == application)
    now = (
        select(Device.version, func.count(), *name)
        .where(Device.version.isnot(None), *these)
        .group_by(Device.version, *name)
        .order_by(func.count().desc())
    )
    running: dict[_Key, int] = {}
    for runs, count, *app in session.execute(now):
        layer = ("".join(app), runs or "") if len(running) < NAMED_MOST else rest
        running[layer] = running.get(layer, 0) + count
    known = set(running)

    def named(layer: _Key) -> _Key:
        if layer not in known and len(known) >= NAMED_MOST:
            return rest
        known.add(layer)
        return layer

    # Use whole numbers: SQLite may lack floor(), and only PostgreSQL rounds in a cast.
    place = cast((Change.at - start) * 1000, BigInteger) // max(int(step * 1000), 1)
    query = (
        select(place, Change.before, Change.after, func.count(), *name)
        .join(Device, Device.id == Change.device_id)
        .where(Change.at > start, *these)
        .group_by(place, Change.before, Change.after, *name)
    )
    deltas: dict[_Key, list[int]] = {}
    for point, before, after, count, *app in session.execute(query):
        i = min(int(point) + 1, STEPS - 1)  # a change between two points shows at the second
        for version, sign in ((after, 1), (before, -1)):
            if version is not None:
                deltas.setdefault(named(("".join(app), version)), [0] * STEPS)[i] += sign * count
    found = {}
    for layer in running.keys() | deltas.keys():
        values = [running.get(layer, 0)] * STEPS
        steps = deltas.get(layer, [0] * STEPS)
        for i in range(STEPS - 1, 0, -1):
            values[i - 1] = max(values[i] - steps[i], 0)
        found[layer] = values
    return found


def _x(i: int) -> float:
    return round(WIDTH * i / (STEPS - 1), 1)


def _y(value: float, most: int) -> float:
    return round(HEIGHT - HEIGHT * value / most, 1)


def _area(base: Sequence[int], top: Sequence[int], most: int) -> str:
    """Return the area's path, drawn in steps: nothing is known between two points."""
    upper = [f"M{_x(0)} {_y(top[0], most)}"]
    for i in range(1, STEPS):
        if top[i] != top[i - 1]:
            upper.append(f"H{_x(i)}V{_y(top[i], most)}")
    upper.append(f"H{_x(STEPS - 1)}V{_y(base[-1], most)}")
    for i in range(STEPS - 1, 0, -1):
        if base[i] != base[i - 1]:
            upper.append(f"H{_x(i)}V{_y(base[i - 1], most)}")
    return "".join(upper) + f"H{_x(0)}Z"


def _round_up(count: int) -> int:
    """Round up to a number that suits the top of a scale."""
    size = 10 ** int(math.log10(count))
    for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        if count <= factor * size and factor * size == int(factor * size):
            return int(factor * size)
    return count
