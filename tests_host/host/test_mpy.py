"""What a board runs: the package compiled with short private names, applications as they are."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from ivota_tools import toolchain
from ivota_tools.mpy import compile_mpy, shorten

LIBRARY = Path(__file__).parents[2] / "lib"


def test_private_names_are_short_and_all_else_stays() -> None:
    source = '''
import _thread
_LIMIT = 5
class _Thing:
    """A docstring with _limit in it."""
    def __init__(self, _value=_LIMIT):
        self._value = _value  # _value
        self.public = "_value"
    def _work(self, *_):
        return _thread.stack_size(), self._value
'''
    names = dict.fromkeys(re.findall(r"\b_\w*", shorten(source).split("class", 1)[1]))
    assert {"__init__", "_", "_thread"} <= set(names)
    kept = {"__init__", "_", "_thread", "_limit", "_value"}  # the last two in texts
    assert all(len(name) == 2 for name in set(names) - kept)
    assert '"_value"' in shorten(source) and "with _limit in it" in shorten(source)
    assert "_LIMIT" not in shorten(source) and ".public" in shorten(source)


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.name)
def test_only_names_change(path: Path) -> None:
    source = path.read_text()

    def shape(text: str) -> list[type[ast.AST]]:
        return [type(node) for node in ast.walk(ast.parse(text))]

    short = shorten(source)
    assert shape(short) == shape(source)
    assert shorten(short).split() == short.split()  # as short as can be
    # A private name in a text would be looked up in vain.
    assert not re.findall(r"""(?:getattr|setattr|hasattr)\([^)]*["']_[a-z]""", source)


def test_private_names_stay_inside_their_module() -> None:
    """Else a name that was shortened here would not be found there."""
    for path in LIBRARY.rglob("*.py"):
        tree = ast.parse(path.read_text())
        own = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        } | {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                assert node.attr in own, f"{path.name}:{node.lineno} {node.attr}"
            if isinstance(node, ast.ImportFrom):
                assert not [name.name for name in node.names if name.name.startswith("_")]


def test_the_package_is_compiled_shorter_than_an_application() -> None:
    source = (LIBRARY / "ivota" / "link.py").read_bytes()
    ours = compile_mpy(source, "/lib/ivota/link.py")
    assert ours == compile_mpy(source, "lib/ivota/link.py")
    theirs = compile_mpy(source, "/lib/mine.py")
    assert len(ours) < len(theirs)
    assert b"_owner" in theirs and b"_owner" not in ours


def test_an_application_keeps_its_assertions(tmp_path: Path) -> None:
    (tmp_path / "app.mpy").write_bytes(compile_mpy(b"assert 1 == 2", "app.py"))
    done = subprocess.run(
        [*toolchain.micropython(32), "-c", "import app"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert 'File "app.py", line 1' in done.stdout + done.stderr
    assert "AssertionError" in done.stdout + done.stderr
