"""What the measurements are made with: the search, the counter of instructions, the tables."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ivota_workshop.bench import bundles, figures
from ivota_workshop.bench.console import __main__ as bench_console
from ivota_workshop.bench.download.heap import NOT_HERE, STEP, modules, smallest
from ivota_workshop.bench.download.instructions import Segments, count
from ivota_workshop.bench.figures import Figure, document, markdown, read, write
from ivota_workshop.bench.fleet import sizes
from ivota_workshop.bench.steps import steps
from ivota_workshop.bench.traps.server import Peer, Server

LIBRARY = Path(__file__).parents[2] / "lib"


@pytest.mark.parametrize("least", [8448, 30_720, 31_000, 98_304])
@pytest.mark.parametrize("ways", [1, 3, 4])
def test_the_smallest_size_is_found_to_a_step(least: int, ways: int) -> None:
    tried: list[int] = []

    def succeed(sizes: list[int]) -> list[bool]:
        tried.extend(sizes)
        return [size >= least for size in sizes]

    found = smallest(succeed, 8192, 98_304, ways)
    assert found - STEP < least <= found
    assert found % STEP == 0
    assert len(tried) < 80


def test_bundlefs_is_imported_whole_and_in_two_modules() -> None:
    for name, sources in bundles.cases().items():
        assert bundles.imports(sources, 65_536) and not bundles.imports(sources, 4096), name


def test_a_size_that_fails_once_more_is_not_the_smallest() -> None:
    lucky = [10_240]  # succeeds once

    def succeed(sizes: list[int]) -> list[bool]:
        return [size >= 10_496 or size in lucky and not lucky.remove(size) for size in sizes]

    assert smallest(succeed, 8192, 12_288, ways=1) == 10_496


def test_a_size_below_ones_that_fail_is_found() -> None:
    """Halving alone ends above the hole from 30,720 to 36,864."""

    def succeed(sizes: list[int]) -> list[bool]:
        return [
            14_336 <= size < 20_480 or 21_504 <= size < 30_720 or size >= 36_864 for size in sizes
        ]

    assert smallest(succeed, 8192, 98_304) == 14_336


def test_no_size_is_found_where_all_fail() -> None:
    with pytest.raises(RuntimeError, match="no heap up to 12288 bytes"):
        smallest(lambda sizes: [False for _ in sizes], 8192, 12_288)


def test_everything_is_each_module_that_runs_here() -> None:
    package = {f"ivota.{path.stem}" for path in (LIBRARY / "ivota").glob("*.py")}
    assert set(modules()) == package - {f"ivota.{name}" for name in ("__init__", *NOT_HERE)} | {
        "bundlefs",
        "tls",
    }


def test_instructions_are_those_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text("import sys\nfor _ in range(int(sys.argv[1])): pass\n")
    least = count(script, "0")
    once, twice = (count(script, str(n)) - least for n in (10_000, 20_000))
    assert 10 * 10_000 < once < 1000 * 10_000
    assert twice == pytest.approx(2 * once, rel=0.01)


def test_a_script_that_fails_is_not_counted(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise ValueError('on purpose')\n")
    with pytest.raises(RuntimeError, match="on purpose"):
        count(script)


def test_a_segment_is_sent_when_the_reader_has_nothing_left(tmp_path: Path) -> None:
    script = tmp_path / "reads.py"
    script.write_text(READER)
    data = bytes(range(256)) * 20
    sender = Segments(data)
    idle: list[bool] = []

    def send() -> bool:
        idle.append(sender.send())
        return idle[-1]

    got = tmp_path / "got"
    with Server(sender.serve, Peer.hold, 1) as server:
        count(script, str(server.port), str(len(data)), str(got), idle=send)
    lines = got.read_text().split()
    # In each it found 1436 bytes or fewer, and the next one only when it asked.
    assert [int(line) for line in lines] == [1436, 1436, 1436, 812]
    assert idle.count(True) == 4


READER = """
import select, socket, sys
connection = socket.socket()
connection.connect(socket.getaddrinfo("127.0.0.1", int(sys.argv[1]))[0][-1])
connection.write(b"GET / HTTP/1.1\\r\\nRange: bytes=0-\\r\\n\\r\\n")
while connection.readline() != b"\\r\\n":
    pass
left = int(sys.argv[2])
connection.setblocking(False)
buffer = bytearray(4096)
with open(sys.argv[3], "w") as got:
    while left:
        n = connection.readinto(buffer)
        if n is None:
            print("idle")
            sys.stdin.readline()
        else:
            got.write("%d\\n" % n)
            left -= n
"""


def test_the_sizes_of_fleets_follow_from_the_documented_figures() -> None:
    text = figures.SCALE.read_text()
    written = text.partition("<!-- sizes: written by the command -->")[2].partition("<!--")[0]
    found = sizes.markdown(sizes.documented(figures.SCALE, figures.DOCUMENT))
    assert written.strip() == found, "run python -m ivota_workshop.bench.fleet.sizes"


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read("area", tmp_path) == {}
    found = {"a": Figure(3, "<= 2", "bytes"), "b": Figure(1.5, "", "ratio")}
    write("area", "make bench-area", found, tmp_path)
    assert read("area", tmp_path) == found


def test_a_table_says_which_goals_are_missed() -> None:
    found = {
        "a": Figure(30_720, "<= 2", "bytes"),
        "b": Figure(1.0051, "<= 1.01", "ratio"),
        "c": Figure(5, "", "cuts"),
    }
    assert markdown(found).splitlines()[2:] == [
        "| `a` | 30,720 | ≤ 2 (missed) | bytes |",
        "| `b` | 1.0051 | ≤ 1.01 | ratio |",
        "| `c` | 5 |  | cuts |",
    ]


def test_a_document_gets_what_belongs_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text("before\n<!-- t: written by the command -->\nold\n<!-- end of t -->\nafter\n")
    for _ in range(2):
        document(path, "t", "new\n")
        assert path.read_text() == (
            "before\n<!-- t: written by the command -->\n\nnew\n\n<!-- end of t -->\nafter\n"
        )
    with pytest.raises(ValueError, match="lacks the markers"):
        document(path, "other", "new")


def test_a_part_that_is_measured_alone_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that only the document has: build/ is of this machine, the document of all."""
    rows = ["| `campaign_s` | 75.1 |  | s |", "| `kills` | 50 |  | times |"]
    path = tmp_path / "benchmarks.md"
    path.write_text(
        "before\n<!-- console: written by the command -->\n\n| figure | value | goal | unit |\n"
        f"|---|---|---|---|\n{rows[0]}\n| `push_latency_ms_p50` | 1 | | ms |\n{rows[1]}\n\n"
        "<!-- end of console -->\nafter\n"
    )
    monkeypatch.setattr(figures, "DOCUMENT", path)
    design = tmp_path / "design.md"
    design.write_text("<!-- missed: written by the command --><!-- end of missed -->")
    monkeypatch.setattr(figures, "DESIGN", design)
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    # Older than what the document says.
    write("console", "make bench-console", {"kills": Figure(3, "", "times")})
    found = {"push_latency_ms_p50": Figure(60.4, "", "ms"), "new": Figure(2, "== 2", "")}
    monkeypatch.setattr(bench_console.latency, "measure", lambda _folder: found)
    monkeypatch.setattr(sys, "argv", ["bench", "latency"])
    assert bench_console.main() == 0
    assert path.read_text() == (
        "before\n<!-- console: written by the command -->\n\n| figure | value | goal | unit |\n"
        f"|---|---|---|---|\n{rows[0]}\n| `push_latency_ms_p50` | 60.4 |  | ms |\n{rows[1]}\n"
        "| `new` | 2 | = 2 |  |\n\n<!-- end of console -->\nafter\n"
    )
    assert read("console") == {"kills": Figure(3, "", "times"), **found}


def test_the_consoles_pages_are_measured_with_a_fleet_of_any_size(tmp_path: Path) -> None:
    bench_console.pages.fill(tmp_path / "ivota.db", 3)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_measurement_says_what_it_is_at(terminal: bool) -> None:
    shown = io.StringIO()
    with steps(Console(file=shown, force_terminal=terminal, width=80), 2) as step:
        step("one")
        step("[red]two")
    text = shown.getvalue()
    if terminal:
        assert "[red]two" in text and "1/2" in text
    else:
        assert text == "measuring: one\nmeasuring: [red]two\n"
