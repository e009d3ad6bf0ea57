"""The recordings of `make recordings`: what they show, and that documents have them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from found import some
from PIL import Image
from rich.style import Style
from rich.text import Text

from ivota_workshop.recordings import animated_svg, animated_webp, demo_page
from ivota_workshop.recordings.timed_console import PAUSE_MOST_S, Block, TimedConsole, played

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"


def steps(svg: str, name: str) -> list[tuple[float, int]]:
    """The keyframes of an animation: percent, and where it moves its group to."""
    (frames,) = re.findall(rf"@keyframes {name}{{(.*?)}}\n", svg)
    found = re.findall(r"([\d.]+)%{transform:translateY\((-?\d+)px\)}", frames)
    return [(float(percent), int(place)) for percent, place in found]


def test_a_console_keeps_lines_their_styles_and_their_order() -> None:
    console = TimedConsole()
    console.print("a title", style="bold")
    console.print()
    console.print(Text("cut", style="red"), "x" * 100, soft_wrap=True)
    assert console.text == "a title\n\ncut " + "x" * 100 + "\n"
    assert [len(block.lines) for block in console.blocks] == [1, 1, 1]
    times = [block.at_s for block in console.blocks]
    assert times == sorted(times)
    (style,) = [span.style for span in console.blocks[2].lines[0].spans]
    assert isinstance(style, Style) and style.color
    assert style.color.number is not None and animated_svg.NAMES[style.color.number] == "red"


def test_a_recording_is_faster_and_has_no_long_pause() -> None:
    moments = played([(100.0, "a"), (101.0, "b"), (200.0, "c")])
    assert [thing for _, thing in moments] == ["a", "b", "c"]
    assert [at_s for at_s, _ in moments] == [0.0, 0.5, 0.5 + PAUSE_MOST_S]


@pytest.mark.parametrize("dark", [False, True])
def test_lines_appear_one_after_the_other(dark: bool) -> None:
    rows = animated_svg.ROWS + 10
    blocks = [Block(float(number), [Text(f"<line {number}>", "red")]) for number in range(rows)]
    svg = animated_svg.draw("make demo", blocks, dark)
    texts = [each.text for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert texts == ["$", "make demo", *(f"<line {number}>" for number in range(rows))]
    sheet, cover = steps(svg, "sheet"), steps(svg, "cover")
    assert len(sheet) == len(cover) == rows + 1
    assert [percent for percent, _ in cover] == sorted({percent for percent, _ in cover})
    # Each step uncovers one more line, and what is uncovered last is in the window.
    places = [place for _, place in cover]
    assert places == [animated_svg.LINE * number for number in range(1, rows + 2)]
    for (_, up), (_, down) in zip(sheet, cover, strict=True):
        assert up + down == min(down, animated_svg.ROWS * animated_svg.LINE)


def test_pictures_last_as_long_as_they_were_seen(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    path = animated_webp.write(
        tmp_path / "film.webp", list(zip((5.0, 6.0, 99.0), pictures, strict=True))
    )
    with Image.open(path) as film:
        lasts = []
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            film.load()
            lasts.append(film.info["duration"])
    assert lasts == [500, 1000 * PAUSE_MOST_S, 1000 * animated_webp.END_S]


def test_the_page_gets_what_was_printed(tmp_path: Path) -> None:
    page = tmp_path / "demo.md"
    page.write_text(f"before\n\n{demo_page.BEGIN}\nold\n{demo_page.END}\n\nafter\n")
    demo_page.write("0.2\n  1.0 s a line\n\n0.2\n╭─────╮\n│ MD5 │\n╰─────╯\n", page)
    shown = demo_page.read(page)
    assert page.read_text() == f"before\n\n{demo_page.BEGIN}{shown}{demo_page.END}\n\nafter\n"
    tables, lines = re.findall(r"```text\n(.*?)\n```", shown, re.S)
    assert tables == "0.2\n╭─────╮\n│ MD5 │\n╰─────╯"
    assert lines == "0.2\n  1.0 s a line"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="markers"):
        demo_page.read(page)


@pytest.mark.parametrize("end", ["", "-dark"])
def test_documents_have_recordings_of_one_run(end: str) -> None:
    """What the terminal shows is what docs/demo.md shows, and the console's film is small."""
    svg = ElementTree.parse(IMAGES / f"demo{end}.svg").getroot()
    shown = "".join("".join(each.itertext()) for each in svg.iter(f"{SVG}text"))
    for line in some(re.findall(r"^ +[\d.]+ s (.+)$", demo_page.read(), re.M), 10):
        assert line in shown
    film = IMAGES / f"demo-console{end}.webp"
    assert film.stat().st_size < animated_webp.MOST_BYTES
    with Image.open(film) as pictures:
        assert getattr(pictures, "n_frames", 1) > 10
