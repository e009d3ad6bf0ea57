"""Power cuts on paper: what they leave on a flash, their names, what is judged of reports."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ivota_tools.sim import Operation
from ivota_tools.sim.filesystem import BLOCK
from ivota_workshop.power import faults
from ivota_workshop.power.bench import Run, Said
from ivota_workshop.power.cuts import AFTER, KINDS, Cut, Images, Known, Recording
from ivota_workshop.power.reports import reports
from ivota_workshop.power.scenario import NEW
from ivota_workshop.power.scenarios import scenarios
from ivota_workshop.power.seen import Seen

SCENARIOS = scenarios()


def recording() -> Recording:
    chance = random.Random(1)
    operations = [Operation(n % 3, 0, None, n << 20) for n in range(3)]
    operations += [
        Operation(n % 3, 128 * n, chance.randbytes(128), (n + 3) << 20) for n in range(12)
    ]
    image = chance.randbytes(3 * BLOCK)
    return Recording(image, Known(), operations, Run("settled"), b"")


@pytest.mark.parametrize("text", ("die@0", "part@17", "random@3s5", "after@9"))
def test_a_cut_has_a_name_that_says_all(text: str) -> None:
    assert str(Cut.parse(text)) == text


@pytest.mark.parametrize("text", ("die", "gone@3", "@3", "die@", ""))
def test_what_is_no_cut_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Cut.parse(text)


def test_images_are_what_the_operations_make() -> None:
    made = recording()
    plain = bytearray(made.image)
    digests = set()
    images = Images(made)
    for at, operation in enumerate(made.operations):
        image, digest = images.cut(Cut("die", at))
        assert image == plain
        assert images.cut(Cut("die", at))[1] == Images(made).cut(Cut("die", at))[1]
        digests.add(digest)
        operation.apply(plain)
        image, after = images.cut(Cut(AFTER, at))
        assert image == plain
        if at + 1 < len(made.operations):
            assert Images(made).cut(Cut("die", at + 1))[1] == after
    assert len(digests) == len(made.operations)


@pytest.mark.parametrize("kind", ("part", "random"))
def test_a_torn_operation_changes_nothing_but_its_place(kind: str) -> None:
    made = recording()
    seen = set()
    for at, operation in enumerate(made.operations):
        before, _ = Images(made).cut(Cut("die", at))
        for seed in range(4):
            torn, digest = Images(made).cut(Cut(kind, at, seed))
            seen.add(digest)
            start = operation.block * BLOCK + operation.offset
            end = start + len(operation.data or bytes(BLOCK))
            assert torn[:start] == before[:start] and torn[end:] == before[end:]
            if operation.data:  # a program only clears bits
                pairs = zip(torn[start:end], before[start:end], strict=True)
                assert kind == "random" or any(a != b for a, b in pairs)
    assert len(seen) > 2 * len(made.operations)


def test_a_state_is_new_once(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen")
    digests = [random.Random(n).randbytes(8) for n in range(1000)]
    assert all(seen.add(each) for each in digests)
    again = Seen(tmp_path / "seen")
    assert not any(again.add(each) for each in digests)
    assert seen.add(bytes(8)) and not again.add(bytes(8))


# --- what is said


def said(
    running: str, state: str = "", code: str = "0", why: str = "", version: str = NEW
) -> Said:
    if not state:
        return Said(running, {"type": "report_version", "report": {"version": version}})
    progress = {"state": state, "result_code": code, "result_msg": why}
    return Said(
        running, {"type": "report_progress", "report": {"version": version, "progress": progress}}
    )


DONE = ("0.1", said("0.1", version="0.1"), "0.2", said("0.2"), said("0.2", "done"))
FAIL = said("0.1", "fail", "-5", "crashed in its trial")


def sorts(name: str, *events: str | Said) -> list[str]:
    return [each.sort for each in reports(SCENARIOS[name], Known(events))]


def test_a_true_end_is_right() -> None:
    assert sorts("few", *DONE) == []
    assert sorts("few", *DONE, "0.2", said("0.2"), said("0.2", "done")) == []
    assert sorts("crash", "0.1", "0.2", "0.1", FAIL) == []


@pytest.mark.parametrize(
    "name, events",
    (
        ("few", (*DONE, "0.1")),  # it went back
        ("few", ("0.1", said("0.1", "done"))),  # it does not run
        ("few", ("0.2", said("0.2"), said("0.2", "fail", "-5", "not enough space"))),
        ("few", (*DONE, FAIL)),
        ("few", ("0.1", said("0.1", version="0.2"), *DONE)),  # another version runs
        ("few", (*DONE, said("0.2", "burning"))),
        ("few", (*DONE, said("0.2", "done", version="0.3"))),
        ("crash", ("0.2", said("0.2", "done"))),
        ("crash", ("0.1", said("0.1", "fail", "-5", "the trial was not confirmed in time"))),
        ("crash", ("0.1", said("0.1", "fail", "-4", "crashed in its trial"))),
        ("crash", ("0.2", said("0.2", "fail", "-5", "crashed in its trial"))),
        ("crash", ("0.1", FAIL, "0.2")),
    ),
)
def test_what_is_not_true_is_noticed(name: str, events: tuple[str | Said, ...]) -> None:
    assert "false_reports" in sorts(name, *events)


def test_no_word_is_no_end() -> None:
    assert sorts("few", "0.1", said("0.1", version="0.1")) == ["unfinished"]


# --- deliberate faults


def test_each_deliberate_fault_can_be_made() -> None:
    assert len(faults.MISTAKES) >= 10
    for mistake in faults.MISTAKES:
        assert faults.changed(mistake), mistake.name
        assert mistake.scenario in SCENARIOS


def test_a_text_that_is_gone_is_said() -> None:
    change = (("lib/ivota/state.py", "no such text", ""),)
    with pytest.raises(ValueError, match="state.py has 0 times"):
        faults.changed(faults.Mistake("none", "one", change))


def test_kinds_and_names_are_apart() -> None:
    assert AFTER not in KINDS
    assert all(name == each.name for name, each in SCENARIOS.items())
