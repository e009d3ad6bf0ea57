"""A few of the power cuts that `make power` makes by the thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ivota_tools.power import fat
from ivota_tools.power.bench import Bench
from ivota_tools.power.campaign import QUICK, Campaign, Tally, play, singles, workplace
from ivota_tools.power.cuts import AFTER, Cut
from ivota_tools.power.faults import MISTAKES, catch
from ivota_tools.power.scenario import scenarios
from ivota_tools.power.work import Played, Result, Task, replay


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as made:
        yield made


@pytest.fixture
def one(folder: Path) -> Played:
    played, wrong = play(scenarios()["one"], folder)
    assert wrong == []
    return played


def test_cuts_all_over_an_update(folder: Path) -> None:
    campaign = Campaign(folder, ["one"])
    cuts = [cut for cut in singles(campaign.played["one"], QUICK, 0) if cut.kind != AFTER][::9]
    todo = [
        Task("one", "single", tuple(cuts)),
        Task("one", "single", tuple(cuts)),
        Task("one", "double", (cuts[3],), 8),
        Task("one", "random", seeds=(1, 2)),
        Task("one", "armed", tuple(cuts[::4])),
    ]
    results: list[Result] = []
    for _, some in campaign.run(enumerate(todo), processes=1):
        results += some
    tally = Tally()
    for result in results:
        assert result.faults == [], result.case
        tally.add(result)
    # The second time all of them were met before.
    assert len(cuts) - 6 <= tally.states - tally.doubles <= len(cuts)
    assert tally.doubles > 2
    assert tally.armed == len(cuts[::4])
    assert tally.loss["littlefs"] <= 4096


@pytest.mark.parametrize(
    "case", ("one/part@30", "one/die@12+random@20s3", "one/random:7", "one/armed:random@21")
)
def test_a_case_is_replayed(one: Played, folder: Path, case: str) -> None:
    bench = Bench(folder / "bench", one.stage)
    first, second = (replay(one, bench, case) for _ in range(2))
    assert first.faults == [] and first.case == case
    assert first.log and first.log == second.log


def test_the_update_of_nothing_is_no_case(one: Played, folder: Path) -> None:
    with pytest.raises(ValueError):
        replay(one, Bench(folder / "bench", one.stage), "one/gone@3")


@pytest.mark.parametrize("case", ("image one/part@30", "image one/error:program@9"))
def test_an_image(folder: Path, case: str) -> None:
    played, wrong = play(scenarios()["image one"], folder)
    assert wrong == []
    result = replay(played, Bench(folder / "bench", played.stage), case)
    assert result.faults == []
    # A flash that fails may leave it at the old one.
    assert "sim: boots ota_1" in result.log or "error" in case


def test_firmware_staged_on_fat(folder: Path) -> None:
    made, recording = fat.play(folder)
    places = fat.places(made, recording)
    cuts = [Cut("die", at) for at in places[:: len(places) // 6]]
    outcome = fat.cut(made, recording, Bench(folder / "bench", made), cuts)["die"]
    assert outcome.states > 3 and outcome.wrong == []
    assert outcome.states == outcome.resumed + outcome.afresh + outcome.failed


@pytest.mark.slow
def test_a_deliberate_fault_is_noticed(one: Played, folder: Path) -> None:
    mistake = next(each for each in MISTAKES if "two writes" in each.name)
    caught = catch(mistake, one, folder / "mistake")
    assert caught.case and caught.cases
    cut = Cut.parse(caught.case.partition("/")[2])
    assert cut.at < len(one.recording.operations)
