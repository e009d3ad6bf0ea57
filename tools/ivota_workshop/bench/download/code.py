"""Count the modules of the package, and those that other modules load by name with `once`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ivota_tools.common.project_files import CHECKOUT

from ..figures import Figure
from . import heap


def loaded_late() -> set[str]:
    """Return the modules that the code names for `once`: in a call, as a phase or as a target."""
    package = CHECKOUT / "lib" / "ivota"
    known = {path.stem for path in package.glob("*.py")}
    texts = (text for path in package.glob("*.py") for text in _named(ast.parse(path.read_text())))
    return known & set(texts)


def _named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "once":
            values = node.args
        elif isinstance(node, ast.Assign):
            place = ast.unparse(node.targets[0]).rpartition(".")[2]
            values = [node.value] if place in ("kind", "phase") else []
        else:
            continue
        for part in (part for value in values for part in ast.walk(value)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def figures() -> dict[str, Figure]:
    count = len(list((CHECKOUT / "lib" / "ivota").glob("*.py")))
    return {
        **heap.code_figures(),
        "modules": Figure(count, "<= 40", "modules"),
        "once_boundaries": Figure(len(loaded_late()), "<= 16", "modules"),
    }
