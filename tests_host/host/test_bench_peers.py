"""The comparison's own logic, and each way once on a short firmware over a link that ends."""

from __future__ import annotations

import dataclasses
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim import Cut
from ivota_workshop.bench.figures import Figure
from ivota_workshop.bench.peers import cost
from ivota_workshop.bench.peers.cases import CASES, Case
from ivota_workshop.bench.peers.run import (
    DONE,
    GIVES_UP,
    WAITS,
    Files,
    Run,
    broker,
    last_error,
    prefix,
    run,
)
from ivota_workshop.bench.peers.table import costs, figures_of, outcome, outcomes
from ivota_workshop.bench.peers.ways import OLD, OURS, WAYS, firmware

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SIZE = 20_000
CASE = Case("short", "a short one", size=SIZE, rate=100_000, heap="1m", limit_s=20)
BY_NAME = {way.name: way for way in WAYS}


@pytest.fixture(scope="module")
def listener() -> Iterator[Broker]:
    with broker() as found:
        yield found


def all_ways(case: Case, listener: Broker) -> dict[str, Run]:
    with ThreadPoolExecutor(len(WAYS)) as pool:
        found = pool.map(lambda way: run(way, case, listener.port), WAYS)
        return {each.way: each for each in found}


def test_a_link_that_ends_early(listener: Broker) -> None:
    """What each way is worth is the figures' affair: here they must say what is on the flash."""
    case = dataclasses.replace(CASE, cut=Cut(8192, "fin"))
    found = all_ways(case, listener)
    ours = found.pop("ours")
    assert ours.whole and not ours.old
    assert ours.tries == 3 == len(ours.cuts) + 1
    assert SIZE < ours.received < 1.2 * SIZE
    heights = [size for _, size in ours.line]
    assert heights == sorted(heights) and heights[-1] == SIZE
    assert any(0 < height < SIZE for height in heights)
    for name, other in found.items():
        assert other.says == DONE and not other.whole, name
        assert other.length == other.right == other.line[-1][1]
        assert 7168 < other.right < 8192 <= other.received < 8192 + 300
        assert outcome(other, case) == f"**accepts {other.right:,} bytes as complete**"


def test_a_link_that_is_reset(listener: Broker) -> None:
    case = dataclasses.replace(CASE, cut=Cut(8192, "rst"), tries=2)
    found = all_ways(case, listener)
    assert found.pop("ours").whole
    for name, other in found.items():
        assert (other.says, other.tries) == (GIVES_UP, 2), name
        assert "ECONNRESET" in other.error
        assert other.old == (name == "micropython_ota")


def test_a_power_cut(listener: Broker) -> None:
    case = dataclasses.replace(CASE, rate=30_000, power_at=0.5)
    found = all_ways(case, listener)
    for name, each in found.items():
        assert each.whole and each.tries == 2, name
    # Ours had blocks on the flash; all others begin anew.
    assert found.pop("ours").received < 1.35 * SIZE
    assert min(other.received for other in found.values()) > 1.35 * SIZE


def test_a_link_that_falls_silent(listener: Broker) -> None:
    case = dataclasses.replace(CASE, cut=Cut(8192, "silence"), cuts=1, limit_s=3)
    found = run(BY_NAME["requests_pieces"], case, listener.port)
    assert found.says == WAITS and found.old
    assert outcome(found, case) == "**still waiting after 3 s**, keeps the old file"


@pytest.mark.parametrize("name", ["ours", "micropython_ota", "requests_whole"])
def test_a_heap_that_is_too_small_ends_it(name: str, listener: Broker) -> None:
    case = dataclasses.replace(CASE, rate=0, tries=1)
    heap = 24_576 if name == "ours" else 16_384
    found = run(BY_NAME[name], case, listener.port, str(heap))
    assert found.says == GIVES_UP


def test_instructions_are_per_byte(listener: Broker) -> None:
    way = BY_NAME["requests_pieces"]
    short, long = (cost.instructions(way, listener, size) for size in (100_000, 200_000))
    assert 5 < short < 30
    assert long == pytest.approx(short, rel=0.2)


def request(port: int, path: str, first: int = 0) -> tuple[int, bytes]:
    headers = {"Range": f"bytes={first}-"} if first else {}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers=headers)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        return answer.status, answer.read()


def test_the_server_knows_ranges_or_does_not() -> None:
    data = firmware(1000)
    with Files(data) as files:
        assert request(files.port, "firmware.py") == (200, data)
        assert request(files.port, "firmware.py", 300) == (206, data[300:])
        assert request(files.port, "P/version") == (200, b"0.2\n")
    with Files(data, ranges=False) as files:
        assert request(files.port, "firmware.py", 300) == (200, data)


def test_the_firmware_is_text_of_the_size_asked_for() -> None:
    for size in (1, 65_536, 708_482):
        assert len(firmware(size).decode("ascii")) == size
    assert prefix(OLD, firmware(SIZE)) == 0


def test_right_bytes_are_counted_up_to_the_first_wrong_one() -> None:
    assert prefix(b"", b"abc") == 0
    assert prefix(b"ab", b"abc") == 2
    assert prefix(b"abXd", b"abcd") == 2
    assert prefix(b"abcd", b"abc") == 3


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Run("mip", "", 9, DONE, 9, 9), "complete"),
        (Run("mip", "", 9, DONE, 5, 5), "**accepts 5 bytes as complete**"),
        (Run("mip", "", 9, DONE, 9, 5), "**accepts 9 bytes as correct**"),
        (Run("mip", "", 9, DONE, 12, 9), "**accepts 12 bytes as correct**"),
        (Run("mip", "", 9, DONE), "**accepts 0 bytes as complete**"),
        (
            Run("mip", "", 9, GIVES_UP, 5, 5, tries=3),
            "gives up after 3 tries, **loses the old file**",
        ),
        (
            Run("mip", "", 9, GIVES_UP, 5600, 0, True, tries=3),
            "gives up after 3 tries, keeps the old file",
        ),
        (Run("mip", "", 9, WAITS, 0), "**still waiting after 20 s**, **loses the old file**"),
    ],
)
def test_what_came_of_it_in_words(found: Run, words: str) -> None:
    assert outcome(found, CASE) == words


def test_the_last_error_is_said() -> None:
    log = ["peer: try", "OSError: [Errno 104] ECONNRESET", "Something went wrong: too big", "x"]
    assert last_error(log) == "too big"
    assert last_error(log[:2]) == "OSError: [Errno 104] ECONNRESET"
    assert last_error(["peer: done"]) == ""


def test_tables_have_every_case_and_way() -> None:
    runs = {
        (case.name, way.name): Run(way.name, case.name, SIZE, DONE, SIZE, SIZE, received=SIZE)
        for case in CASES
        for way in WAYS
    }
    lines = outcomes(runs).splitlines()
    assert len(lines) == 2 + len(CASES)
    assert {line.count("|") for line in lines} == {len(WAYS) + 2}
    assert lines[0] == f"|  | {' | '.join(way.label for way in WAYS)} |"
    assert lines[2] == f"| {CASES[0].title} |" + " complete<br>1.000 |" * len(WAYS)
    names = "heap_bytes_min_32bit", "erases_per_block", "instructions_per_byte"
    figures = {f"{name}_{way.name}": Figure(2000, "", "") for name in names for way in WAYS}
    assert costs(figures).splitlines()[2].endswith("| 2,000 |")


def test_only_ours_has_goals() -> None:
    runs = {
        (case.name, way.name): Run(way.name, case.name, SIZE, GIVES_UP, received=2 * SIZE)
        for case in CASES
        for way in WAYS
    }
    figures = figures_of(runs)
    missed = {name for name, figure in figures.items() if not figure.met}
    assert {f"whole_{case.name}_{OURS.name}" for case in CASES} < missed
    assert all(name.endswith(f"_{OURS.name}") for name in missed)


def test_the_document_has_each_way_and_case() -> None:
    text = DOCUMENT.read_text()
    written = text.partition("<!-- peers: written by the command -->")[2]
    written = written.partition("<!-- end of peers -->")[0]
    for name in (*(way.label for way in WAYS), *(case.title for case in CASES)):
        assert name in written
    for image in ("peers-flash", "peers-cost"):
        for suffix in ("", "-dark"):
            path = f"images/{image}{suffix}.svg"
            assert path in written and (DOCUMENT.parent / path).exists()
