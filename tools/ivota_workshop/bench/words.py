"""`make bench-words`: measure the wording of all texts and the layout of tools/."""

from __future__ import annotations

import ast
import html
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from rich.console import Console

from ivota_tools.cli import app
from ivota_tools.common.project_files import CHECKOUT

from .. import distribution
from .figures import Figure, report

AREA = "words"
COMMAND = "make bench-words"
PHRASES = Path(__file__).with_name("old_phrases.txt")
GLOSSARY = CHECKOUT / "docs" / "glossary.md"
TOOLS = CHECKOUT / "tools" / "ivota_tools"
TEMPLATES = TOOLS / "cloud" / "pages" / "templates"
FOLDERS = ("docs", "examples", "lib", "stubs", "tests_host", "tools")
SUFFIXES = {".css", ".html", ".js", ".md", ".py", ".pyi", ".toml", ".txt"}
# Each of these folders presents or simulates another's work, so module names may recur there.
TELLING_ROOMS = ("cli", "cloud/api", "cloud/pages", "sim")


def texts(root: Path = CHECKOUT) -> Iterator[Path]:
    """Return every source file and document, except the changelog and the lists of phrases."""
    files = [path for path in root.iterdir() if path.is_file()]
    files += [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    for path in sorted(files):
        if path.suffix in SUFFIXES or path.name == "Makefile":
            if path.name not in ("CHANGELOG.md", GLOSSARY.name, PHRASES.name):
                yield path


def old_phrases() -> dict[str, re.Pattern[str]]:
    """Return the pattern of each phrase in old_phrases.txt; a blank matches any white space."""
    found = {}
    for line in PHRASES.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.strip("/") if line.startswith("/") else re.escape(line)
            found[line] = re.compile(pattern.replace(r"\ ", r"\s+"))
    return found


def old_phrases_left(root: Path = CHECKOUT) -> list[str]:
    """Return `FILE: phrase`, once for each occurrence."""
    patterns = old_phrases()
    return [
        f"{path.relative_to(root)}: {phrase}"
        for path in texts(root)
        for phrase, pattern in patterns.items()
        for _ in pattern.findall(path.read_text())
    ]


def glossary() -> dict[str, list[str]]:
    """Return each term with its wrong synonyms."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", GLOSSARY.read_text(), re.M)
    return {term: synonyms.split(", ") for term, synonyms in rows if term != "term"}


def prose(text: str) -> str:
    """Return a Markdown text without code, link targets and comments."""
    text = re.sub(r"^ *```.*?^ *```|^ {4}[^\n]*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", " ", text, flags=re.S)


def page_words(template: str) -> str:
    """Return the text that a template shows to readers: no tags, no code."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", template, flags=re.S)
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S)
    return html.unescape(text)


def helps(command: Any = None, name: str = "ivota") -> Iterator[tuple[str, str]]:
    """Return each command with its help and that of its options."""
    command = command or typer.main.get_command(app.app)
    words = [command.help or "", *(getattr(each, "help", None) or "" for each in command.params)]
    yield f"{name} --help", "\n".join(words)
    for child, each in getattr(command, "commands", {}).items():
        yield from helps(each, f"{name} {child}")


def messages(source: str) -> str:
    """Return a module's text literals that contain a blank, except docstrings."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if " " in node.value and id(node) not in docstrings
    )


def readable() -> Iterator[tuple[str, str]]:
    """Return the text of documents, console pages, commands and their helps, with its places."""
    for path in sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")]):
        if path.name not in ("CHANGELOG.md", GLOSSARY.name):
            yield str(path.relative_to(CHECKOUT)), prose(path.read_text())
    for path in sorted(TEMPLATES.glob("*.html")):
        yield str(path.relative_to(CHECKOUT)), page_words(path.read_text())
    for path in sorted([*(TOOLS / "cli").glob("*.py"), *(TOOLS / "cloud/pages").glob("*.py")]):
        yield str(path.relative_to(CHECKOUT)), messages(path.read_text())
    yield from helps()


def violations(text: str, terms: dict[str, list[str]]) -> list[str]:
    """Return `wrong → term` for each wrong synonym in the text."""
    plain = " ".join(text.split())
    return [
        f"{wrong} → {term}"
        for term, synonyms in terms.items()
        for wrong in synonyms
        for _ in re.findall(rf"(?<![\w-]){re.escape(wrong)}(?![\w-])", plain, re.I)
    ]


def glossary_violations() -> list[str]:
    """Return `PLACE: wrong → term`, once for each occurrence."""
    terms = glossary()
    return [f"{place}: {each}" for place, text in readable() for each in violations(text, terms)]


def name_clashes(tools: Path = TOOLS) -> list[str]:
    """Return modules that share a name in folders that do not distinguish them."""
    owners: dict[str, list[str]] = {}
    for path in sorted(tools.rglob("*.py")):
        room = path.parent.relative_to(tools).as_posix()
        if not path.stem.startswith("__") and not room.startswith(TELLING_ROOMS):
            owners.setdefault(path.stem, []).append(room)
    return [f"{name}: {', '.join(rooms)}" for name, rooms in owners.items() if len(rooms) > 1]


def workshop_files_in_wheel() -> int:
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        with zipfile.ZipFile(distribution.write_wheel(Path(folder))) as wheel:
            return sum("ivota_workshop" in name for name in wheel.namelist())


def main() -> None:
    console = Console()
    phrases, wrong, clashes = old_phrases_left(), glossary_violations(), name_clashes()
    for line in (*phrases, *wrong, *clashes):
        console.print(line, markup=False, highlight=False)
    figures = {
        "readme_lines": Figure(
            len((CHECKOUT / "README.md").read_text().splitlines()), "<= 200", "lines"
        ),
        "old_phrases_left": Figure(len(phrases), "== 0", "phrases"),
        "glossary_terms": Figure(len(glossary()), "<= 40", "terms"),
        "glossary_terms_violated": Figure(len(wrong), "== 0", "phrases"),
        "tools_top_level_modules": Figure(len(list(TOOLS.glob("*.py"))), "<= 3", "files"),
        "module_name_clashes": Figure(len(clashes), "== 0", "names"),
        "workshop_files_in_wheel": Figure(workshop_files_in_wheel(), "== 0", "files"),
    }
    sys.exit(report(AREA, COMMAND, figures, console))


if __name__ == "__main__":
    main()
