"""What the documents list is what the code has: events, keys, links, commands, the API."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from found import some

from ivota_tools.board.config_check import check_config
from ivota_tools.cli import app
from ivota_tools.cloud.accounts import refusal_log
from ivota_tools.cloud.api.bulk_schemas import ActionIn
from ivota_tools.cloud.rollout.bulk_actions import audited
from ivota_workshop import api_reference, config_schema
from ivota_workshop.bench import figures

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
STUBS = CHECKOUT / "stubs" / "ivota-stubs"


def test_every_event_is_documented_and_no_other() -> None:
    found: set[str] = set()
    for path in (CHECKOUT / "lib" / "ivota").glob("*.py"):
        # A call of a log: its level and its event are the first two arguments.
        text = path.read_text()
        found |= set(re.findall(r'log\(\s*"(?:info|warning|error)",\s*"(\w+)"', text))
    table = (CHECKOUT / "docs" / "events.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == found and len(found) > 30


def test_every_action_in_the_audit_log_is_documented() -> None:
    written = {action for _, action in refusal_log._KINDS.values()}
    written |= {"campaign stopped", "campaign finished"}  # made from the state
    written |= set(map(audited, get_args(ActionIn.model_fields["action"].annotation)))
    for path in (CHECKOUT / "tools" / "ivota_tools" / "cloud").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "audit_log.note":
                if isinstance(call.args[2], ast.Constant):
                    written.add(call.args[2].value)
    text = (CHECKOUT / "docs" / "operate.md").read_text().split("## Who changed this?")[1]
    rows = re.findall(r"^\| (`.+?) \|", text.split("\n## ")[0], re.M)
    documented = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(some(written, 40)) == sorted(documented)


def test_every_key_of_the_configuration_is_documented() -> None:
    text = (CHECKOUT / "lib" / "ivota" / "config.py").read_text()
    keys = text.split('_DEFAULTS = const("""')[1].split('"""')[0]
    documented = (CHECKOUT / "docs" / "formats.md").read_text()
    for key in some(re.findall(r'"(\w+)":', keys), 30):
        assert re.search(rf"`(\w+\.)?{key}`", documented) or f"{key}." in documented, key


# What only messages have: their examples have tests of their own.
MESSAGES = ("state", "cloud")


def test_every_example_of_a_configuration_is_accepted() -> None:
    """In a block, or within a sentence."""
    board = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h", "ca": "/ca.pem"}}
    seen: set[str] = set()
    for page in PAGES:
        text = page.read_text()
        found = re.findall(r"^```json\n(.*?)^```", text, re.M | re.S)
        found += re.findall(r'`("\w+": [^`…]*)`', text)
        for example in found:
            config = json.loads(example if example[0] == "{" else "{" + example + "}")
            if not config.keys() & set(MESSAGES):
                check_config((board, config), f"{page.name}: {example}", CHECKOUT)
                seen |= config.keys()
    asked = {"wifi", "lan", "ppp", "network", "hostname", "ntp_host", "device_name"}
    assert asked | {"mqtt", "http", "trial", "topics", "keys", "dialect"} <= seen


def test_every_key_of_a_network_is_documented() -> None:
    text = (CHECKOUT / "docs" / "formats.md").read_text().partition("### The network")[2]
    chapter = text.partition("\n## ")[0]
    for code in some(re.findall(r"^```python\n(.*?)^```", chapter, re.M | re.S)):
        ast.parse(code)
    sections = (CHECKOUT / "lib" / "ivota" / "network_settings.py").read_text()
    keys = re.findall(r'"(\w+)":', sections.split('_SECTIONS = """')[1].split('"""')[0])
    for key in some(keys, 10):
        assert f"`{key}`" in chapter or f'"{key}"' in chapter, key


# --- links


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """What a link to a chapter of this page may name, as GitHub makes it of the titles."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", prose(page), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        made = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        number = sum(each == made or each.startswith(f"{made}-") for each in found)
        found.add(f"{made}-{number}" if made in found else made)
    return found


def links(page: Path) -> list[str]:
    text = prose(page)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)


def named_tests(page: Path) -> set[str]:
    return set(re.findall(r"\btest_\w+(?:\.py)?(?![\w*])", prose(page)))


def test_there_are_links_and_named_tests_to_look_at() -> None:
    assert len([link for page in PAGES for link in links(page)]) > 100
    assert len([name for page in PAGES for name in named_tests(page)]) > 60
    assert sum(len(anchors(page)) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"\w+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, chapter = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not chapter or chapter in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    files = list((CHECKOUT / "tests_host").rglob("test_*.py"))
    there = {path.name for path in files} | {path.stem for path in files}
    for path in files:
        there |= set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.M))
    assert named_tests(page) <= there


# --- commands


def shown(page: Path) -> Iterator[str]:
    """The lines of code blocks and the words between backticks that begin as a command does."""
    text = page.read_text()
    begins = r"(?:ivota|make|mpremote|python -m ivota_(?:tools|workshop))"
    lines = re.sub(r" \\\n +", " ", text)
    yield from re.findall(rf"^(?: {{4,}}|\$ )({begins}[ .].+)$", lines, re.M)
    yield from re.findall(rf"`({begins}[ .][^`]+)`", prose(page).replace("\n", " "))


COMMANDS = sorted({line for page in PAGES for line in shown(page)})


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    return words[: words.index(">")] if ">" in words else words


def test_there_are_commands_to_look_at() -> None:
    assert len([line for line in COMMANDS if line.startswith("ivota ")]) > 40


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("ivota ")])
def test_a_shown_command_is_one(line: str) -> None:
    """Its options and the number of its words: whether it works, other tests see."""
    command: Any = typer.main.get_command(app.app)
    context: Any = None
    name, words = "ivota", words_of(line)[1:]
    while hasattr(command, "commands"):
        context = typer.Context(command, parent=context, info_name=name)
        if not words or words[0].startswith("-"):
            break
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    try:
        command.make_context(name, words, parent=context)
    except Exception as error:  # typer has click's errors under no public name
        kind = type(error).__name__
        # --help and --version; what prose leaves out; a file that is not here.
        fine = kind in ("Exit", "MissingParameter", "NoArgsIsHelpError")
        fine = (
            fine
            or re.search("does not exist|requires an argument|No such file", str(error))
            is not None
        )
        assert fine, (kind, str(error))


def test_shown_targets_are_in_the_makefile() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    for line in some((line for line in COMMANDS if line.startswith("make ")), 10):
        target = words_of(line)[1]
        assert re.search(rf"^{target}:", makefile, re.M), line


def test_shown_modules_can_be_started() -> None:
    for line in some(line for line in COMMANDS if line.startswith("python ")):
        name = words_of(line)[2]
        found = importlib.util.find_spec(name)
        assert found, line
        if found.submodule_search_locations:
            assert importlib.util.find_spec(name + ".__main__"), line


def test_the_help_is_a_table_of_contents() -> None:
    """Each command is in one chapter, and says in a line what it does."""
    listed = [name for commands in app.CONTENTS.values() for name in commands]
    command: Any = typer.main.get_command(app.app)
    assert sorted(listed) == sorted(command.commands)
    for name, each in command.commands.items():
        assert each.get_short_help_str(200).endswith("."), name


def test_the_map_of_the_tools_has_every_file_and_folder() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text().split("The folders of `tools/`")[1]
    rows = re.findall(r"^\| (`.+?) \|", text.split("\n[")[0], re.M)
    patterns = [each for row in rows for each in re.findall(r"`([^`]+)`", row)]
    packages = [CHECKOUT / "tools" / name for name in ("ivota_tools", "ivota_workshop")]
    there = {f"{package.name}/" for package in packages}
    there |= {
        f"{package.name}/{path.name}/"
        for package in packages
        for path in package.iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert there <= set(patterns), there - set(patterns)
    for each in some(patterns, 10):
        assert any(
            (place / each).exists()
            for place in (*packages, CHECKOUT / "tools", packages[0] / "cloud")
        ), each


def test_the_map_of_the_tests_has_every_file_once() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text().split("## A map of the tests")[1]
    rows = re.findall(r"^\| (`.+?) \|", text.split("\n## ")[0], re.M)
    patterns = [each for row in rows for each in re.findall(r"`([^`]+)`", row)]
    tests = CHECKOUT / "tests_host"
    listed = [path for pattern in patterns for path in tests.glob(pattern)]
    assert sorted(listed) == sorted(tests.rglob("test_*.py"))
    assert all(any(tests.glob(pattern)) for pattern in patterns)


def test_the_flow_of_data_names_modules_that_exist() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text().split("## How data flows")[1]
    named = set(re.findall(r"`([\w/]+\.py)`", text.split("\n## ")[0]))
    roots = [CHECKOUT / "tools/ivota_tools", CHECKOUT / "lib/ivota", CHECKOUT]
    roots += [roots[0] / "cloud" / room for room in ("rollout", "mqtt")]
    assert len(named) > 15
    assert [each for each in named if not any((root / each).exists() for root in roots)] == []


# --- figures


def test_each_missed_goal_is_explained_in_the_design() -> None:
    """`python -m ivota_workshop.bench.figures` writes the table."""
    text = (CHECKOUT / "docs" / "design.md").read_text().split("## Goals that were missed")[1]
    chapter = text.split("\n## ")[0]
    assert figures.missed_goals() in chapter
    names = re.findall(r"^\| `(\w+)`", figures.missed_goals(), re.M)
    assert re.findall(r"^- `(\w+)`:", chapter, re.M) == names


# --- the API


def test_the_schema_of_the_configuration_is_written_anew() -> None:
    """`python -m ivota_workshop.config_schema > deploy/ivota-cloud.schema.json` writes it."""
    text = (CHECKOUT / "deploy" / "ivota-cloud.schema.json").read_text()
    assert text == config_schema.text() and len(json.loads(text)["properties"]) > 20


def test_the_api_is_written_anew() -> None:
    """`python -m ivota_workshop.api_reference` writes it."""
    assert (CHECKOUT / api_reference.DOCUMENT).read_text() == api_reference.document()


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[object, ...]:
    given = node.args
    names = [each.arg for each in given.args]
    return names, [ast.unparse(each) for each in given.defaults]


@pytest.mark.parametrize("stub", sorted(STUBS.glob("*.pyi")), ids=lambda path: path.stem)
def test_stubs_say_what_the_package_has(stub: Path) -> None:
    source = ast.parse((CHECKOUT / "lib" / "ivota" / f"{stub.stem}.py").read_text())

    def functions(tree: ast.AST) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[node.name] = _arguments(node)
            elif isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{k}": v for k, v in functions(node).items()}
        return found

    real = functions(source)
    typed = functions(ast.parse(stub.read_text()))
    for name, arguments in typed.items():
        assert real[name] == arguments, name
    text = "".join(path.read_text() for path in (CHECKOUT / "lib" / "ivota").glob("*.py"))
    for node in ast.walk(ast.parse(stub.read_text())):
        if isinstance(node, ast.AnnAssign):
            assert re.search(
                rf"\b{ast.unparse(node.target)} =|def {ast.unparse(node.target)}", text
            )
