"""Hostile input for each parser: the corpus, some thousand inputs more, and planted faults.

`make soak-fuzz` is the same at length.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ivota_tools.common.project_files import CHECKOUT
from ivota_workshop.fuzz import engine, measure, mutate, on_micropython, soak, target, worlds

NAMES = target.names()
BOARDS = [name for name in NAMES if target.load(name).device]
RUNS = 3_000
# Until a planted fault is found; most are within the first hundred.
RUNS_OF_A_FAULT = 200_000


def test_each_parser_that_strangers_reach_has_a_target():
    """Those of docs/security.md, by name."""
    text = (CHECKOUT / "docs" / "security.md").read_text()
    assert {name for name in NAMES if f"`{name}`" in text} == set(NAMES)


def test_every_parser_has_a_planted_fault_that_fits_the_code():
    for name, found in target.targets().items():
        assert found.mistakes, name
        for mistake in found.mistakes:
            files = {file for file, _, _ in mistake.changes}
            assert files <= set(found.code), (name, mistake.name)
            for file in files:
                source = (CHECKOUT / file).read_text()
                changed = mistake.apply(f"/{file}", source)
                compile(changed, file, "exec")


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_is_the_same_each_time_and_has_good_inputs(name: str):
    corpus = target.corpus(name)
    assert corpus == target.corpus(name)
    assert any(file.startswith("good") for file in corpus)
    assert all(len(data) <= target.load(name).most for data in corpus.values())


@pytest.mark.parametrize("name", NAMES)
def test_each_input_of_the_corpus_takes_no_more_than_its_length_allows(name: str):
    found = target.load(name)
    cost = measure.most(name, found, target.corpus(name).values())
    assert cost.lines_share <= 1 and cost.memory_share <= 1, cost


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_short_run(name: str):
    """The same inputs each time, with one version of atheris."""
    outcome = engine.run(name, RUNS)
    assert outcome.crash is None, outcome.said[-3000:]
    assert outcome.inputs >= RUNS


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_fault_is_found(name: str):
    """From good inputs alone, so that it is not the corpus that finds it."""
    outcome = engine.run(name, RUNS_OF_A_FAULT, mistake=0)
    assert outcome.crash is not None, target.load(name).mistakes[0].name


@pytest.mark.slow
def test_without_atheris_faults_are_found_as_well():
    """As on a Python for which there is none."""
    found = target.load("push")
    check = worlds.check_of("push", found, found.mistakes[0])
    inputs = [target.corpus("push")["good"]]
    chance = engine.Chance(1)
    with pytest.raises(AssertionError):
        for _ in range(RUNS_OF_A_FAULT):
            check(engine.changed(inputs, found, inputs, chance))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_the_corpus_on_32_bits_in_a_small_heap(name: str):
    """35 KiB, code included: each input ends as documented, a good one as on CPython."""
    check = worlds.check_of(name, target.load(name))
    outcomes = on_micropython.outcomes(name)
    corpus = target.corpus(name)
    assert set(outcomes) == set(corpus)
    for file, data in corpus.items():
        if file.startswith("good"):
            assert outcomes[file] == str(check(data)), file


def test_a_sealed_file_is_whole():
    sealed = mutate.seal(b'{"a": 1}')
    assert sealed.startswith(b'{"a": 1, "crc": "') and sealed.endswith(b'"}')


def test_the_soak_forgets_what_was_done_with_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def whole(name: str) -> soak.Soak:
        return soak.Soak(tmp_path, [name], 10, console)

    console = soak.Console(quiet=True)
    first = whole("range")
    first.done["range"].inputs = 10
    first.save()
    assert whole("range").done["range"].inputs == 10
    monkeypatch.setattr(soak, "code", lambda name: "other")
    assert whole("range").done["range"].inputs == 0
