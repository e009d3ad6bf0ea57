"""The package's names on a board: no other library meets them, and nobody outside needs them."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from ivota_tools import toolchain
from ivota_tools.common.project_files import LIBRARY
from ivota_tools.firmware import names
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.firmware.names import names_of, own_names
from ivota_tools.firmware.release import pack
from ivota_tools.firmware.renaming import Names
from ivota_tools.firmware.words import FOREIGN, PUBLIC

CHECKOUT = LIBRARY.parent
PACKAGE = sorted((LIBRARY / "ivota").glob("*.py"))
SMALL = {
    "one": '''
import _thread
from other import theirs
_LIMIT = 5
class Thing:
    """A docstring with _value in it."""
    def __init__(self, value=_LIMIT, *, wanted=1):
        self._value = value  # _value
        self.shared = "shared text"
        self.named = getattr(self, "named", None)
    def work(self, value, *_):
        def inner(value, other):
            return value, other, lambda: self.shared
        return _thread.stack_size(), self._value, inner(value, [value for value in ()])
def begun(thing):
    theirs(key=thing.shared)
    return thing.work(wanted=2)
''',
}


def test_what_becomes_of_names() -> None:
    small = Names(SMALL)
    assert {"shared", "work", "Thing", "begun"} <= set(small.shared)
    # In a text, a keyword, of another library, or not bound here.
    assert not {"named", "wanted", "theirs", "stack_size", "key"} & set(small.shared)
    words = [*small.shared.values()]
    assert len(words) == len(set(words))
    assert not set(words) & set(re.findall(r"\w+", SMALL["one"]))
    text = small.rename(SMALL["one"])
    assert "_thread.stack_size()" in text and "theirs(key=" in text and "wanted=1" in text
    assert "self._value" not in text and "with _value in it" in text and "shared text" in text
    assert small.rename(SMALL["one"]) == Names(SMALL).rename(SMALL["one"])


def test_a_word_that_has_another_meaning_is_refused() -> None:
    small = Names(SMALL)
    word = small.shared["shared"]
    with pytest.raises(ValueError, match=f"{word} stands for another name"):
        small.rename(f"def f(x):\n    return x.{word}")


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_only_names_change(path: Path) -> None:
    def shape(text: str) -> list[type[ast.AST]]:
        return [type(node) for node in ast.walk(ast.parse(text))]

    def texts(text: str) -> list[object]:
        return [n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)]

    renamed = own_names().rename(path.read_text())
    assert shape(renamed) == shape(path.read_text())
    assert texts(renamed) == texts(path.read_text())


def test_no_other_library_has_these_names() -> None:
    """Else a method of theirs would be called by a word that it does not know."""
    theirs = set(re.findall(r"\w+", (toolchain.umqtt() / "umqtt" / "simple.py").read_text()))
    stubs = [*CHECKOUT.glob(".venv/stubs/**/*.pyi")]
    assert stubs, "make setup brings the stubs"
    for path in stubs:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                theirs.add(node.name)
            elif isinstance(node, ast.AnnAssign):
                theirs.add(ast.unparse(node.target).rpartition(".")[2])
            elif isinstance(node, ast.Assign):
                theirs |= {ast.unparse(each).rpartition(".")[2] for each in node.targets}
    assert not theirs & set(own_names().shared), "these belong into FOREIGN"


def of_ours(text: str) -> set[str]:
    """What a program or a page takes from the package, or from an object of ours."""
    objects = r"(?:agent|client|firmware|error|failure|net|push|errors|jsonfile)"
    found = set(re.findall(rf"\b{objects}\.(?:{objects}\.)?(\w+)", text))
    for names_imported in re.findall(r"from ivota[\w.]* import ([\w, ]+)", text):
        found |= set(re.findall(r"\w+", names_imported))
    return found


def test_what_the_documentation_names_is_kept() -> None:
    pages = [CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md")]
    pages.remove(CHECKOUT / "docs" / "design.md")  # which is about what is inside
    programs = [*CHECKOUT.glob("examples/**/*.py"), CHECKOUT / "boot.py", CHECKOUT / "main.py"]
    used = set().union(*(of_ours(path.read_text()) for path in [*pages, *programs]))
    assert {"update_progress", "confirm", "run"} <= used
    assert not used & set(own_names().shared), "these belong into PUBLIC"
    assert not (PUBLIC | FOREIGN) & set(own_names().shared)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_interpreter_knows_every_word(bits: int) -> None:
    """So none of them takes heap: the number of names stays what it was."""
    words = [*own_names().shared.values(), *own_names().words]
    script = (
        "import micropython\nclass A: pass\n"
        "micropython.qstr_info()\n"
        f"for word in {' '.join(words).encode()!r}.split(b' '):\n"
        "    setattr(A, str(word, 'ascii'), 1)\n"
        "micropython.qstr_info()\n"
    )
    done = subprocess.run(
        [*toolchain.micropython(bits), "-c", script], capture_output=True, text=True, check=True
    )
    before, after = re.findall(r"n_qstr=(\d+)", done.stdout)
    assert before == after


def test_most_names_cost_nothing_in_a_file() -> None:
    """The first words are part of the .mpy format, so their text is not in it."""
    compiled = compile_mpy(
        PACKAGE[0].parent.joinpath("link.py").read_bytes(), "/lib/ivota/link.py"
    )
    for name in ("left_ms", "_owner", "_stream"):
        assert name.encode() not in compiled


def test_a_traceback_is_read_back() -> None:
    sources = names.read_package(LIBRARY / "ivota")
    word = own_names().shared["renew"]
    private = own_names().of_module(ast.parse(sources["link"]))["_beat"]
    said = f'  File "job", in {word}\n  File "link.py", line 1, in {private}\n'
    read = "".join(own_names().read(line, sources) for line in said.splitlines(keepends=True))
    assert read == '  File "job", in renew\n  File "link.py", line 1, in _beat\n'
    theirs = f'  File "app.py", line 3, in {word}\n'
    assert own_names().read(theirs, sources) == theirs


def test_another_package_keeps_what_its_modules_share(tmp_path: Path) -> None:
    ours = {f"lib/ivota/{path.name}": path.read_bytes() for path in PACKAGE}
    assert names_of(ours) is own_names()
    assert not names_of({**ours, "lib/ivota/link.py": b"pass"}).shared
    assert not names_of({**ours, "app.py": b"from ivota.wifi import Station"}).shared
    assert names_of({**ours, "app.py": b"from ivota.client import Client"}) is own_names()
    (tmp_path / "app.py").write_text("from ivota.wifi import Station\ndef main():\n    pass\n")
    out = tmp_path / "out.bin"
    pack(tmp_path, "1", out=out)
    assert b"Station" in out.read_bytes() and b"left_ms" in out.read_bytes()
