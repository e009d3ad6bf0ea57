"""The words of documents, console and helps: no old phrase, one name for each thing.

`make bench-words` prints what these tests find, and where.
"""

from __future__ import annotations

import re
from pathlib import Path

from ivota_workshop.bench import words


def test_no_old_phrase_is_left() -> None:
    assert words.old_phrases_left() == []


def test_no_wrong_synonym_of_the_glossary_is_used() -> None:
    assert words.glossary_violations() == []


def test_module_names_are_told_apart_by_their_rooms() -> None:
    assert words.name_clashes() == []
    assert len(list(words.TOOLS.glob("*.py"))) <= 3


def test_the_glossary_is_short_and_names_each_thing_once() -> None:
    terms = words.glossary()
    assert 30 <= len(terms) <= 40 and sorted(terms) == list(terms)
    wrong = [each for synonyms in terms.values() for each in synonyms]
    assert len(wrong) == len(set(wrong)) and not set(wrong) & set(terms)
    assert len(words.GLOSSARY.read_text().splitlines()) == len(terms) + 7


def test_wrong_words_are_found_wherever_a_reader_meets_them(tmp_path: Path) -> None:
    terms = {"roll back": ["taken back"]}
    assert words.violations("It was taken\n  back.", terms) == ["taken back → roll back"]
    assert words.violations("Mistaken backup, re-taken back", terms) == []
    text = words.prose("a\n\n    code taken back\n\nb `taken back` [c](taken#back)\n\nd\n")
    assert re.sub(r"\W+", " ", text) == "a b c d "
    page = words.page_words("{# x #}{% if x %}<p title='x'>a &amp; b</p><script>x</script>{{ x }}")
    assert page.split() == ["a", "&", "b"]
    assert words.messages('"""A docstring."""\nprint("one two", f"three {x} four", "key")') == (
        "one two\nthree \n four"
    )
    places = [place for place, _ in words.readable()]
    for place in ("README.md", "docs/events.md", "ivota push --help", "ivota board status --help"):
        assert place in places

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The next start goes\non where it was.")
    assert len(words.old_phrases_left(tmp_path)) == 1


def test_a_name_clashes_only_where_the_rooms_do_not_tell_it_apart(tmp_path: Path) -> None:
    for room in ("cloud/api", "cloud/rollout", "firmware", "board"):
        (tmp_path / room).mkdir(parents=True)
    for path in ("cloud/api/a.py", "cloud/rollout/a.py", "firmware/b.py", "board/b.py"):
        (tmp_path / path).touch()
    assert words.name_clashes(tmp_path) == ["b: board, firmware"]
