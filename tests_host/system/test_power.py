"""A few of the power cuts that `make power` makes by the thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.sim.board import HARD_RESET, PWRON_RESET
from ivota_tools.sim.filesystem import BLOCK
from ivota_workshop.power import fat
from ivota_workshop.power.bench import Bench
from ivota_workshop.power.campaign import Campaign, workplace
from ivota_workshop.power.cases import Result, replay
from ivota_workshop.power.cuts import AFTER, Cut, Images
from ivota_workshop.power.faults import MISTAKES, catch
from ivota_workshop.power.forkserver import ForkServer
from ivota_workshop.power.judge import loss_most
from ivota_workshop.power.plan import QUICK, singles
from ivota_workshop.power.played import Played, play
from ivota_workshop.power.scenarios import scenarios
from ivota_workshop.power.soak import Soak
from ivota_workshop.power.stage import stage
from ivota_workshop.power.tally import Tally
from ivota_workshop.power.work import Task


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as made:
        yield made


@pytest.fixture
def one(folder: Path) -> Played:
    played, wrong = play(scenarios()["one"], folder)
    assert wrong == []
    return played


@pytest.mark.matrix
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


@pytest.mark.matrix
@pytest.mark.parametrize(
    "case", ("one/part@30", "one/die@12+random@20s3", "one/random:7", "one/armed:random@21")
)
def test_a_case_is_replayed(one: Played, folder: Path, case: str) -> None:
    with Bench(folder / "bench", one.stage) as bench:
        first, second = (replay(one, bench, case) for _ in range(2))
    assert first.faults == [] and first.case == case
    assert first.log and first.log == second.log


def test_every_start_is_a_process_that_knows_nothing_of_a_board(folder: Path) -> None:
    says = b"import sys, os; print('knows', sorted(sys.modules), sorted(globals()))\n"
    boot = says + b"print('has', os.listdir('/'))\n" + (CHECKOUT / "boot.py").read_bytes()
    made = stage(scenarios()["one"], folder / "making", {"/boot.py": boot})
    with Bench(folder / "bench", made) as bench:
        lines = list[str]()
        for _ in range(2):
            bench.load(made.image)
            lines += bench.run(False).lines
    knows = [line for line in lines if line.startswith("knows ")]
    has = [line for line in lines if line.startswith("has ")]
    assert len(knows) == 4  # one before the update and one after it, twice
    assert len(set(knows)) == 1
    assert not any(word in knows[0] for word in ("ivota", "bundlefs", "umqtt", "client"))
    assert has[:2] == has[2:]
    assert "firmware" not in has[0] and "firmware" in has[1]


def test_a_run_ends_where_an_earlier_one_came_by(
    one: Played, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = Images(one.recording).cut(Cut("die", 20))
    known = one.recording.known_at(20)
    starts = []
    start = ForkServer.start
    monkeypatch.setattr(
        ForkServer, "start", lambda *args: (starts.append(args[1]), start(*args))[1]
    )
    with Bench(folder / "bench", one.stage) as bench:
        runs = []
        for _ in range(2):
            bench.load(image)
            runs.append(bench.run(False, known.have, examine=lambda _, image: [hash(image)]))
    assert runs[0] == runs[1]
    assert starts == [PWRON_RESET, HARD_RESET, PWRON_RESET]


def test_the_update_of_nothing_is_no_case(one: Played, folder: Path) -> None:
    with Bench(folder / "bench", one.stage) as bench, pytest.raises(ValueError):
        replay(one, bench, "one/gone@3")


@pytest.mark.parametrize("case", ("image one/part@30", "image one/error:program@9"))
def test_an_image(folder: Path, case: str) -> None:
    played, wrong = play(scenarios()["image one"], folder)
    assert wrong == []
    with Bench(folder / "bench", played.stage) as bench:
        result = replay(played, bench, case)
    assert result.faults == []
    # A flash that fails may leave it at the old one.
    assert "sim: boots ota_1" in result.log or "error" in case


def test_firmware_staged_on_fat(folder: Path) -> None:
    made, recording = fat.play(folder)
    places = fat.places(made, recording)
    cuts = [Cut("die", at) for at in places[:: len(places) // 6]]
    with Bench(folder / "bench", made) as bench:
        outcome = fat.cut(made, recording, bench, cuts)["die"]
    assert outcome.states > 3 and outcome.wrong == []
    assert outcome.states == outcome.resumed + outcome.afresh + outcome.failed


@pytest.mark.slow
def test_a_deliberate_fault_is_noticed(one: Played, folder: Path) -> None:
    mistake = next(each for each in MISTAKES if "two writes" in each.name)
    caught = catch(mistake, one, folder / "mistake")
    assert caught.case and caught.cases
    cut = Cut.parse(caught.case.partition("/")[2])
    assert cut.at < len(one.recording.operations)


@pytest.mark.slow
def test_the_loss_of_a_patch_is_noticed(folder: Path) -> None:
    scenario = scenarios()["compressed"]
    assert loss_most(scenario) == BLOCK
    good, wrong = play(scenario, folder)
    assert wrong == [] and len(good.stage.firmware) > 2 * BLOCK
    mistake = next(each for each in MISTAKES if each.name.startswith("a patch goes before"))
    caught = catch(mistake, good, folder / "mistake")
    assert caught.text == f"{len(good.stage.firmware)} bytes were fetched again"


def test_a_soak_goes_on_and_ends_when_the_code_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soak = Soak(folder / "soak")
    soak.done, soak.states = {3, 5}, [bytes(8), b"8 bytes."]
    soak.tally.cells["die", "littlefs", "bundle", "one"] = 2
    soak.tally.faults["bricks"] = 1
    soak.save()
    again = Soak(folder / "soak")
    assert again.done == soak.done and again.states == soak.states
    assert again.tally == soak.tally and again.tally.states == 2
    monkeypatch.setattr("ivota_workshop.power.soak.code", lambda: "other")
    with pytest.raises(RuntimeError, match="code has changed"):
        again.save()
    assert Soak(folder / "soak").tally.states == 0
