"""Draw a terminal as an SVG whose lines appear one by one, with CSS alone, to work in an <img>.

All lines are on one sheet. Two animations of the same length run over it: one moves the sheet up
behind the window, the other moves a cover down the sheet. A viewer that does not support
animations, or does not want any, shows the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO

from rich.console import Console
from rich.text import Text

from .timed_console import Block, played

COLUMNS, ROWS = 96, 27
CHARACTER, LINE, FONT = 8.4, 18, 14  # CSS pixels
MARGIN, BAR = 16, 36
TYPED_S, TABLE_S, END_S = 1.0, 2.5, 6.0  # pauses: after the command, after a table, at the end

FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
NAMES = {1: "red", 2: "green", 6: "cyan"}  # the numbered colours of a terminal
LIGHT = {
    "ground": "#ffffff",
    "frame": "#d0d7de",
    "bar": "#f6f8fa",
    "text": "#24292f",
    "dim": "#656d76",
    "red": "#cf222e",
    "green": "#1a7f37",
    "cyan": "#0b6e7f",
}
DARK = {
    "ground": "#0d1117",
    "frame": "#30363d",
    "bar": "#161b22",
    "text": "#e6edf3",
    "dim": "#8b949e",
    "red": "#ff7b72",
    "green": "#3fb950",
    "cyan": "#76e3ea",
}


def draw(command: str, blocks: Sequence[Block], dark: bool) -> str:
    """Return the whole file: `command` is typed, and each block appears at its time."""
    lines, appear, total_s = _schedule(command, blocks)
    colours = DARK if dark else LIGHT
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    window = ROWS * LINE
    height = BAR + window + 2 * MARGIN
    up = [max(0, count - ROWS) * LINE for _, count in appear]
    down = [count * LINE for _, count in appear]
    times = [at_s / total_s for at_s, _ in appear]
    out = StringIO()
    out.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(command)}: what it prints</title>\n<style>\n"
        f"text{{font:{FONT}px {FONTS};fill:{colours['text']};white-space:pre}}\n"
        + "".join(f".{name}{{fill:{colours[name]}}}" for name in ("dim", "red", "green", "cyan"))
        + f".bold{{font-weight:bold}}\n{_keyframes('sheet', times, [-each for each in up])}"
        f"{_keyframes('cover', times, down)}"
        f"#sheet,#cover{{animation:sheet {total_s:.2f}s step-end infinite}}\n"
        f"#sheet{{transform:translateY({-up[-1]}px)}}\n"
        f"#cover{{animation-name:cover;transform:translateY({down[-1]}px)}}\n"
        "@media(prefers-reduced-motion:reduce){#sheet,#cover{animation:none}}\n</style>\n"
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" '
        f'fill="{colours["ground"]}" stroke="{colours["frame"]}"/>\n'
        f'<path d="M.5 {BAR}V8.5a8 8 0 0 1 8-8H{width - 8.5}a8 8 0 0 1 8 8V{BAR}Z" '
        f'fill="{colours["bar"]}" stroke="{colours["frame"]}"/>\n'
    )
    for number in range(3):
        out.write(f'<circle cx="{20 + 18 * number}" cy="18" r="5.5" fill="{colours["frame"]}"/>')
    out.write(
        f'\n<svg x="{MARGIN}" y="{BAR + MARGIN}" width="{width - 2 * MARGIN}" height="{window}">'
        '<g id="sheet">\n'
    )
    for number, line in enumerate(lines):
        out.write(_line(line, number * LINE + FONT))
    out.write(
        f'<rect id="cover" width="100%" height="{len(lines) * LINE}" fill="{colours["ground"]}"/>'
        "\n</g></svg>\n</svg>\n"
    )
    return out.getvalue()


def _schedule(
    command: str, blocks: Sequence[Block]
) -> tuple[list[Text], list[tuple[float, int]], float]:
    """Return all lines, how many are visible from which second on, and the duration in seconds."""
    lines = [Text.assemble(("$ ", "dim"), (command, "bold"))]
    appear = [(0.0, 1)]
    more_s = TYPED_S
    for at_s, block in played((block.at_s, block) for block in blocks):
        lines += block.lines
        appear.append((at_s + more_s, len(lines)))
        if any(line.plain.startswith("╰") for line in block.lines):
            more_s += TABLE_S
    return lines, appear, appear[-1][0] + END_S


def _keyframes(name: str, times: Sequence[float], places: Sequence[int]) -> str:
    steps = [f"{100 * at:.3f}%{{transform:translateY({place}px)}}" for at, place in
             zip(times, places, strict=True)]  # fmt: skip
    steps.append(f"to{{transform:translateY({places[-1]}px)}}")
    return f"@keyframes {name}{{{''.join(steps)}}}\n"


def _line(line: Text, y: int) -> str:
    """Draw each run of one style at its place, as wide as the grid requires, whatever the font."""
    out, column = [], 0
    for segment in line.render(Console(width=COLUMNS)):
        words = segment.text.rstrip("\n")
        start = column + len(words) - len(words.lstrip())
        column += len(words)
        words = words.strip()
        if not words:
            continue
        style = segment.style
        kinds = []
        if style and style.color and style.color.number in NAMES:
            kinds.append(NAMES[style.color.number])
        if style and style.dim:
            kinds.append("dim")
        if style and style.bold:
            kinds.append("bold")
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        out.append(
            f'<text x="{start * CHARACTER:.1f}" y="{y}" '
            f'textLength="{len(words) * CHARACTER:.1f}" lengthAdjust="spacingAndGlyphs"{kind}>'
            f"{escape(words, quote=False)}</text>"
        )
    return "".join(out) + "\n" if out else ""
