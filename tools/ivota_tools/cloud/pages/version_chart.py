"""Draw versions over time as an SVG: how many devices ran each, from the reported changes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session

from ..rollout.version_order import key
from ..store.device_acceptance import ACCEPTED
from ..store.models import Change, Device

RANGES = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
DEFAULT = "24h"
STEPS = 97  # points of a curve
LAYERS = 5  # versions with their own colour; older ones share one
WIDTH, HEIGHT = 960, 240  # of the drawing, which is stretched to fit
OLDER = "older"
NAMED_MOST = 100  # versions that are counted individually


@dataclass(frozen=True)
class Layer:
    """One version: how many devices ran it at each point, and how it is drawn."""

    version: str
    css: str
    counts: Sequence[int]
    path: str

    @property
    def now(self) -> int:
        return self.counts[-1]


@dataclass(frozen=True)
class Chart:
    """The chart's data for the template; `most` is the top of the scale."""

    layers: Sequence[Layer]
    times: Sequence[float]
    across: Sequence[str]  # times of day or dates, evenly spaced from left to right
    up: Sequence[str]  # numbers of devices, evenly spaced from the top to 0
    most: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def rows(self) -> list[tuple[float, list[int]]]:
        """Return every twelfth point and the last one, for a table."""
        chosen = sorted({*range(0, len(self.times), 12), len(self.times) - 1})
        return [(self.times[i], [layer.counts[i] for layer in self.layers]) for i in chosen]


class Charts:
    """The charts of one database, drawn again after a version has changed or a step has ended."""

    def __init__(self) -> None:
        self._drawn: dict[str, tuple[object, Chart]] = {}

    def versions(self, session: Session, span: str, now: float) -> Chart:
        span = span if span in RANGES else DEFAULT
        last = session.scalar(select(func.max(Change.id)))
        known = last, math.ceil(now / _step(span))
        held = self._drawn.get(span)
        if held is None or held[0] != known:
            held = self._drawn[span] = known, versions(session, span, now)
        return held[1]


def fitting(session: Session, now: float) -> str:
    """Return the shortest range that shows all changes, or the longest range."""
    first = session.scalar(select(func.min(Change.at)))
    length = now - (now if first is None else first)
    return next((name for name, most in RANGES.items() if length <= most), next(reversed(RANGES)))


def _step(span: str) -> float:
    """Return the seconds between two points."""
    return RANGES[span] / (STEPS - 1)


def versions(session: Session, span: str, now: float) -> Chart:
    """Count back from what devices run now, with two queries for any number of devices."""
    length, step = RANGES[span], _step(span)
    # Whole steps, so that the curve does not shift between two requests.
    end = math.ceil(now / step) * step
    start = end - length
    counts = _counts(session, start, step)
    names = sorted(counts.keys() - {OLDER}, key=lambda name: (key(name), name), reverse=True)
    used = [name for name in names if any(counts[name])]
    shown, rest = used[:LAYERS], used[LAYERS:]
    rest += [name for name in counts if name == OLDER]
    series = [(name, counts[name]) for name in shown]
    if rest:
        series.append((OLDER, [sum(counts[name][i] for name in rest) for i in range(STEPS)]))
    totals = [sum(values[i] for _, values in series) for i in range(STEPS)]
    most = _round_up(max([*totals, 1]))
    times = [start + step * i for i in range(STEPS)]
    # The last point is now, not the end of its step.
    times[-1] = now
    layers = []
    base = [0] * STEPS
    for number, (name, values) in reversed(list(enumerate(series))):
        top = [a + b for a, b in zip(base, values, strict=True)]
        css = "older" if name == OLDER else f"v{number}"
        layers.append(Layer(name, css, values, _area(base, top, most)))
        base = top
    ticks = (1, 0.5, 0) if most % 2 == 0 else (1, 0)
    return Chart(
        layers=layers[::-1],
        times=times,
        across=[_when(times[i], length) for i in range(0, STEPS, 16)],
        up=[f"{share * most:,.0f}" for share in ticks],
        most=most,
    )


def _counts(session: Session, start: float, step: float) -> dict[str, list[int]]:
    """Count devices by version at each point; of very many versions, the rarest become OLDER."""
    now = select(Device.version, func.count()).where(
        Device.version.isnot(None), Device.status == ACCEPTED
    )
    now = now.group_by(Device.version).order_by(func.count().desc())
    running: dict[str, int] = {}
    for runs, count in session.execute(now).tuples():
        name = (runs or "") if len(running) < NAMED_MOST else OLDER
        running[name] = running.get(name, 0) + count
    known = set(running)

    def named(version: str) -> str:
        if version not in known and len(known) >= NAMED_MOST:
            return OLDER
        known.add(version)
        return version

    # Use whole numbers: SQLite may lack floor(), and only PostgreSQL rounds in a cast.
    place = cast((Change.at - start) * 1000, BigInteger) // max(int(step * 1000), 1)
    query = (
        select(place, Change.before, Change.after, func.count())
        .where(Change.at > start)
        .group_by(place, Change.before, Change.after)
    )
    deltas: dict[str, list[int]] = {}
    for point, before, after, count in session.execute(query).tuples():
        i = min(int(point) + 1, STEPS - 1)  # a change between two points shows at the second
        for version, sign in ((after, 1), (before, -1)):
            if version is not None:
                deltas.setdefault(named(version), [0] * STEPS)[i] += sign * count
    found = {}
    for name in running.keys() | deltas.keys():
        values = [running.get(name, 0)] * STEPS
        steps = deltas.get(name, [0] * STEPS)
        for i in range(STEPS - 1, 0, -1):
            values[i - 1] = max(values[i] - steps[i], 0)
        found[name] = values
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


def _when(at: float, length: float) -> str:
    if length > 2 * 86400:
        return time.strftime("%d %b", time.gmtime(at))
    return time.strftime("%H:%M", time.gmtime(at))


def _round_up(count: int) -> int:
    """Round up to a number that suits the top of a scale."""
    size = 10 ** int(math.log10(count))
    for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10):
        if count <= factor * size and factor * size == int(factor * size):
            return int(factor * size)
    return count
