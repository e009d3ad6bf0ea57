"""Prepare the files of a bundle for boards: compile them and check that boards can import them."""

from __future__ import annotations

import ast
import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ...board.config_check import readable
from .. import mpy_file
from ..bundle import ReleaseError
from ..mpy_compiler import NativeCodeError, compile_mpy

_COMPILE_PLACE = re.compile(r'File "[^"]*", line (\d+)')


def as_on_a_board(
    sources: dict[str, Path], mpy: bool, march: str | None, note: Callable[[str], object]
) -> dict[str, bytes]:
    """Return a map from paths in the bundle to contents for boards. Raises ReleaseError."""
    data = {name: path.read_bytes() for name, path in sources.items()}
    for name in data:
        # Remove a byte order mark, which boards' JSON parsers and some Python versions reject.
        if name.endswith((".py", ".json")):
            data[name] = data[name].removeprefix(codecs.BOM_UTF8)
    if "config.json" in data:
        data["config.json"] = readable(data["config.json"])
    python = {name: source for name, source in data.items() if name.endswith(".py")}
    if "app.py" in python:
        _check_main(python["app.py"], sources["app.py"])
    contents: dict[str, bytes] = {}
    for name, source in data.items():
        if name.endswith(".mpy"):
            problem = mpy_file.problem(source, march)
            if problem:
                raise ReleaseError(f"{name}: {problem}")
        elif name in python:
            if f"{name[:-3]}.mpy" in data:
                raise ReleaseError(
                    f"the folder contains both {name} and {name[:-3]}.mpy: remove one"
                )
            try:
                compiled = _compile(name, source, sources[name], march)
            except NativeCodeError:
                if mpy:
                    note(
                        f"{name} has native code and is packed as source code, which the board "
                        "compiles. Use --march to compile it for one architecture or chip"
                    )
            else:
                if mpy:
                    name, source = f"{name[:-3]}.mpy", compiled
        contents[name] = source
    return contents


def _compile(name: str, source: bytes, place: Path, march: str | None) -> bytes:
    """Compile a source to .mpy with its name in the bundle, so that it is reproducible."""
    try:
        return compile_mpy(source, name, march)
    except NativeCodeError:
        raise
    except ValueError as error:
        said = str(error)
        found = _COMPILE_PLACE.findall(said)
        where = f"{name}:{found[-1]}" if found else name
        raise ReleaseError(f"{where}: {said.splitlines()[-1]} (in {place})") from None


def _check_main(source: bytes, place: Path) -> None:
    """Raise ReleaseError for an app.py that does not define `main`."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # the compiler reports the error
    if not any(_binds_main(node) for node in _at_the_top(module)):
        raise ReleaseError(f"{place} must define main(), which the board calls")
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "main":
            given = node.args
            needed = len(given.posonlyargs + given.args) - len(given.defaults)
            if needed > 0 or None in given.kw_defaults:
                raise ReleaseError(
                    f"{place}: main() must not need arguments, because the board passes none"
                )


def _at_the_top(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, except those in functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        ):
            yield from _at_the_top(child)


def _binds_main(node: ast.AST) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == "main"
    if isinstance(node, ast.Name):
        return node.id == "main" and isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.alias):
        return node.name == "*" or (node.asname or node.name) == "main"
    return False
