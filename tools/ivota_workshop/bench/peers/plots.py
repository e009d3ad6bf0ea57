"""Plot the measurements: SVG files in docs/images/, each for light pages and for dark ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas
from matplotlib.transforms import ScaledTranslation

from ivota_tools.common.project_files import CHECKOUT

from ..figures import Figure
from .cases import BY_NAME, SIZE
from .run import Run
from .table import Runs, outcome
from .ways import OURS, WAYS, Way

IMAGES = CHECKOUT / "docs" / "images"
KIB = 1024
_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "ivota",  # identical figures produce an identical file
    "font.family": "DejaVu Sans",  # included in matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.solid_joinstyle": "miter",
}
_BESIDE = 2.0  # points
_SMALL: dict[str, Any] = {"fontsize": 8.5}
_CUTS = {
    "reset_64k": "The link is reset every 64 KiB",
    "end_64k": "The stream is ended every 64 KiB",
}


@dataclass(frozen=True)
class Theme:
    suffix: str
    ink: str
    quiet: str
    grid: str
    paper: str
    ways: Mapping[str, str]


_LIGHT = Theme(
    "",
    "#1f2328",
    "#656d76",
    "#e6e9ed",
    "#ffffff",
    {
        "ours": "#0969da",
        "micropython_ota": "#8250df",
        "requests_whole": "#bf8700",
        "requests_pieces": "#cf222e",
        "mip": "#1a7f37",
    },
)
_DARK = Theme(
    "-dark",
    "#e6edf3",
    "#8d96a0",
    "#262c36",
    "#0d1117",
    {
        "ours": "#4493f8",
        "micropython_ota": "#ab7df8",
        "requests_whole": "#d29922",
        "requests_pieces": "#f85149",
        "mip": "#3fb950",
    },
)


def flash(runs: Runs) -> str:
    """Plot bytes safely on flash over time, on a link that is cut every 64 KiB."""
    said = "Bytes of the firmware safely on flash, over time, on a link that is cut every 64 KiB"
    return _draw("peers-flash", said, lambda canvas, theme: _flash(canvas, theme, runs), (10, 4.6))


def costs(figures: Mapping[str, Figure]) -> str:
    said = "Smallest heap, flash erases and instructions of a download, for each way"
    return _draw(
        "peers-cost", said, lambda canvas, theme: _costs(canvas, theme, figures), (10, 2.9)
    )


def _draw(
    name: str, said: str, draw: Callable[[Canvas, Theme], None], inches: tuple[float, float]
) -> str:
    """Write a plot for both kinds of page; return the Markdown that shows it in a document."""
    IMAGES.mkdir(exist_ok=True)
    for theme in (_LIGHT, _DARK):
        colours = {
            "text.color": theme.ink,
            "axes.edgecolor": theme.quiet,
            "axes.labelcolor": theme.quiet,
            "xtick.color": theme.quiet,
            "ytick.color": theme.quiet,
        }
        with matplotlib.rc_context({**_SETTINGS, **colours}):
            canvas = Canvas(figsize=inches, layout="constrained")
            draw(canvas, theme)
            _save(canvas, IMAGES / f"{name}{theme.suffix}.svg")
    return (
        "<picture>\n"
        f'<source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">\n'
        f'<img alt="{said}" src="images/{name}.svg">\n'
        "</picture>"
    )


def _save(canvas: Canvas, path: Path) -> None:
    # Without a date, so that the file changes only if the plot does.
    canvas.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})


def _flash(canvas: Canvas, theme: Theme, runs: Runs) -> None:
    last = max(runs[name, way.name].seconds for name in _CUTS for way in WAYS)
    for axes, (name, title) in zip(
        canvas.subplots(1, 2, sharex=True, sharey=True), _CUTS.items(), strict=True
    ):
        axes.set_title(title, loc="left", fontsize=11, pad=12)
        axes.set_xlim(0, last)
        axes.set_ylim(0, SIZE / KIB * 1.06)
        axes.set_xlabel("seconds")
        axes.set_yticks(range(0, 700, 100))
        axes.tick_params(length=0)
        axes.axhline(SIZE / KIB, color=theme.quiet, linewidth=0.8, linestyle=(0, (4, 4)))
        place = {"xytext": (6, -4), "textcoords": "offset points", "va": "top"}
        axes.annotate("the whole firmware", (0, SIZE / KIB), color=theme.quiet, **_SMALL, **place)
        for way in reversed(WAYS):  # ours on top
            _line(axes, theme, way, runs[name, way.name], last, _rank(runs, name, way))
        _legend(axes, theme, name, runs)
    canvas.axes[0].set_ylabel("KiB of the firmware safely on flash")


def _rank(runs: Runs, name: str, way: Way) -> int:
    """Return how many downloaders below it in the legend got as far, to within 4 KiB."""
    below = [runs[name, each.name].line[-1][1] for each in WAYS[WAYS.index(way) + 1 :]]
    return sum(abs(size - runs[name, way.name].line[-1][1]) < 4 * KIB for size in below)


def _line(axes: Any, theme: Theme, way: Way, run: Run, last: float, rank: int) -> None:
    """Draw a line; `rank` shifts it up, so that lines of the same height stay distinct."""
    colour, ours = theme.ways[way.name], way is OURS
    style = {"color": colour, "clip_on": False, "zorder": 4 if ours else 3}
    seconds, sizes = zip(*corners(run.line), strict=True)
    heights = [size / KIB for size in sizes]
    if ours:
        at = [max(size for time, size in run.line if time <= cut + 0.2) for cut in run.cuts]
        axes.plot(run.cuts, [size / KIB for size in at], "|", color=theme.ink, markersize=7)
        axes.step(seconds, heights, where="post", linewidth=2.6, **style)
    else:
        moved = ScaledTranslation(0, _BESIDE * rank / 72, axes.figure.dpi_scale_trans)
        style["transform"] = axes.transData + moved
        # The bytes stay on flash after the download has ended.
        ends = [*seconds, last], [*heights, heights[-1]]
        axes.step(*ends, where="post", linewidth=1.6, **style)
    style |= {"zorder": 5, "markeredgecolor": theme.paper, "markersize": 9 if ours else 8}
    axes.plot(run.seconds, heights[-1], "o" if run.whole else "X", **style)


def _legend(axes: Any, theme: Theme, name: str, runs: Runs) -> None:
    """Draw the legend in the corner below the rising line."""
    for row, way in enumerate(WAYS):
        run, colour = runs[name, way.name], theme.ways[way.name]
        words = outcome(run, BY_NAME[name]).replace("*", "")
        words += f" after {run.seconds:.0f} s" if run.whole else ""
        height = 0.485 - 0.08 * row
        place = {"transform": axes.transAxes, "va": "center"}
        weight = "bold" if way is OURS else "normal"
        axes.text(0.47, height, way.label, color=colour, weight=weight, **_SMALL, **place)
        axes.text(0.47, height - 0.035, words, color=theme.quiet, **_SMALL, **place)


def corners(line: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return the points where a line that starts at 0 changes its height, and its end."""
    found = [(0.0, 0)]
    for time, size in line:
        if size != found[-1][1]:
            found.append((time, size))
    return [*found, line[-1]]


def _costs(canvas: Canvas, theme: Theme, figures: Mapping[str, Figure]) -> None:
    titles = {
        "heap_bytes_min_32bit": ("smallest heap, KiB", KIB, "{:,.0f}"),
        "erases_per_block": ("flash erases per block", 1, "{:.2f}"),
        "instructions_per_byte": ("instructions per byte", 1, "{:,.0f}"),
    }
    rows = range(len(WAYS))
    for axes, (name, (title, unit, form)) in zip(
        canvas.subplots(1, 3, sharey=True), titles.items(), strict=True
    ):
        values = [figures[f"{name}_{way.name}"].value / unit for way in WAYS]
        colours = [theme.ways[way.name] for way in WAYS]
        axes.barh(rows, values, color=colours, height=0.55)
        for row, value in zip(rows, values, strict=True):
            label = form.format(value)
            axes.annotate(
                label,
                (value, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=theme.ink,
            )
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlim(0, max(values) * 1.35)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
    canvas.axes[0].set_yticks(rows, [way.label for way in WAYS])
    canvas.axes[0].invert_yaxis()
