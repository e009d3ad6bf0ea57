"""What a board runs: the package compiled with other names, applications as they are."""

import ast
import re
import subprocess
from pathlib import Path

from ivota_tools import toolchain
from ivota_tools.firmware.mpy_compiler import compile_mpy

LIBRARY = Path(__file__).parents[2] / "lib"


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
        # In a text it would be looked up in vain.
        assert not re.findall(
            r"""(?:getattr|setattr|hasattr)\([^)]*["']_[a-z]""", path.read_text()
        )


def test_the_package_is_compiled_shorter_than_an_application() -> None:
    source = (LIBRARY / "ivota" / "link.py").read_bytes()
    ours = compile_mpy(source, "/lib/ivota/link.py")
    assert ours == compile_mpy(source, "lib/ivota/link.py")
    theirs = compile_mpy(source, "/lib/mine.py")
    assert len(ours) < len(theirs)
    assert b"_owner" in theirs and b"_owner" not in ours


def test_const_is_imported_only_where_it_is_called() -> None:
    head = b"from micropython import const\n_ANY = const(5)\nOTHER = const(6)\n"
    for rest, there in ((b"", False), (b"def f():\n    return const(7)\n", True)):
        made = compile_mpy(head + rest + b"print(_ANY, OTHER)\n", "/lib/ivota/mine.py")
        short = compile_mpy(
            (head + rest).split(b"\n", 1)[1] + b"print(5, OTHER)\n", "/lib/ivota/mine.py"
        )
        assert (made == short) is not there


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
