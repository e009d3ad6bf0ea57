"""The contract with boards in the field (docs/formats.md): names and signatures.

tests_host/contract/ has what boards of each release were set up with. A published one never
changes; here the present files are compared with it, and tests_host/system/test_field_boards.py
runs both together.
"""

import ast
import re
from pathlib import Path

import pytest

from ivota_tools.board.file_ownership import is_ours
from ivota_tools.common import project_files
from ivota_workshop import contract_files

ROOT = Path(__file__).parents[2]
RELEASES = sorted((ROOT / "tests_host" / "contract").iterdir())
FUNCTIONS = {"load", "save", "crashed", "slot", "watch", "start", "free"}


def taken(path, module="bundlefs"):
    """Names that a file imports from a module."""
    nodes = ast.walk(ast.parse(path.read_text()))
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == module]
    return {name.name for node in found for name in node.names}


def given(path):
    """Signature of each function of a bundlefs, and the value of each of its public constants."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.unparse(node.args)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            name = ast.unparse(node.targets[0])
            if name[0] != "_":
                found[name] = ast.literal_eval(node.value)
    return found


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_each_file_takes_what_every_release_gives(release):
    now, then = given(ROOT / "lib" / "bundlefs.py"), given(release / "bundlefs.py")
    for name in FUNCTIONS:
        assert now[name] == then[name], name
    assert set(then["FORMATS"]) <= set(now["FORMATS"])
    assert then["VERSION"] == release.name
    for folder in ROOT, release:
        assert taken(folder / "boot.py") == FUNCTIONS
        assert taken(folder / "main.py") == {"save", "start"}
        assert taken(folder / "main.py", "ivota") == {"agent"}


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_boot_files_are_recognized_by_their_first_lines(release):
    """`ivota board install` and `remove` would not touch those of another release."""
    for name in ("boot.py", "main.py"):
        assert is_ours((release / name).read_bytes(), (ROOT / name).read_bytes()), name


def code(source):
    """The syntax tree without docstrings; comments are no part of it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


def test_the_files_of_a_version_that_is_not_published_are_current():
    version = project_files.version()
    folder = contract_files.FOLDER / version
    if f"## Unreleased ({version})" in (ROOT / "CHANGELOG.md").read_text() and folder.exists():
        for name, data in contract_files.files().items():
            found = (folder / name).read_bytes()
            if name.endswith(".py"):
                found, data = code(found), code(data)
            assert found == data, f"{name}: run python -m ivota_workshop.contract_files"


def keys(*paths):
    """Keys of the state and of its trial that files get, set or look for."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                place, key = node.func, node.args[:1]
                place = place.value if place.attr == "get" else None
            elif isinstance(node, ast.Subscript):
                place, key = node.value, [node.slice]
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
                place, key = node.comparators[0], [node.left]
            else:
                continue
            if place and ast.unparse(place) in ("state", "trial"):
                found |= {each.value for each in key if isinstance(each, ast.Constant)}
    return found


def test_every_key_of_the_state_is_written_down():
    text = " ".join((ROOT / "docs" / "formats.md").read_text().split())
    said = re.search(r"`boot.py` reads (`active`.*?\.) `main.py` reads (.*?\.)", text)
    boot, main = (set(re.findall(r"`(\w+)`", part)) for part in said.groups())
    # What a failed trial leaves for the updater has two more.
    assert boot == keys(ROOT / "boot.py", ROOT / "lib" / "bundlefs.py") | {"why", "reject"}
    assert main == keys(ROOT / "main.py")


def test_the_updater_takes_two_constants():
    found = [taken(path) for path in sorted((ROOT / "lib" / "ivota").rglob("*.py"))]
    assert set().union(*found) == {"FORMATS", "VERSION"}


def test_what_is_written_down_is_the_contract():
    text = (ROOT / "docs" / "formats.md").read_text()
    chapter = text.partition("## The contract with boards in the field")[2].partition("\n## ")[0]
    now = given(ROOT / "lib" / "bundlefs.py")
    for name in FUNCTIONS:
        arguments = now[name].replace("=None", "")
        assert f"`{name}({arguments})`" in chapter, name
    assert "`FORMATS`, `VERSION`" in chapter and "`Client`" in chapter
    assert now["VERSION"] == project_files.version()
