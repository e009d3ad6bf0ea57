"""What no test may be: one that passes because it has looked at nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from found import some

HERE = Path(__file__).parents[1]
FILES = sorted(each for each in HERE.rglob("test_*.py") if each.parent.name != "device")
SEARCHES = {"findall", "finditer", "glob", "rglob", "iterdir", "itertext"}


def searches(node: ast.AST) -> bool:
    """Whether it is what a search has found: in a document, or on a disk."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("sorted", "list", "set") and any(map(searches, node.args))
    if isinstance(node, ast.BinOp):
        return searches(node.left) and searches(node.right)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SEARCHES
    )


def judges(node: ast.For) -> bool:
    """Whether a loop asserts something of each."""
    inside = [each for part in node.body for each in ast.walk(part)]
    return any(isinstance(each, ast.Assert) for each in inside)


def loops(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What the asserts of a test go over: in loops, and in all(...)."""
    for node in ast.walk(function):
        if isinstance(node, ast.For) and judges(node):
            yield node.iter
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "all":
            for given in node.args:
                if isinstance(given, ast.GeneratorExp):
                    yield given.generators[0].iter


def may_look_at_nothing(function: ast.FunctionDef) -> list[str]:
    made = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and searches(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    # What is asserted of the whole of it, in whatever way, is not empty unseen.
    judged = {
        name.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assert)
        for name in ast.walk(node.test)
        if isinstance(name, ast.Name)
    }
    return [
        f"{function.name}, line {over.lineno}: {ast.unparse(over)}"
        for over in loops(function)
        if searches(over) or isinstance(over, ast.Name) and over.id in made - judged
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_test_passes_for_want_of_what_it_looks_at(path: Path) -> None:
    """`some(...)` of what was found fails when there is nothing."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not [each for function in functions for each in may_look_at_nothing(function)]


def test_the_rule_knows_its_kinds() -> None:
    for body, wrong in (
        ("for x in re.findall(a, b):\n  assert x", True),
        ("for x in some(re.findall(a, b)):\n  assert x", False),
        ("for x in sorted(p.glob('*')):\n  assert x", True),
        ("found = re.findall(a, b)\n for x in found:\n  assert x", True),
        ("found = re.findall(a, b)\n assert len(found) == 3\n for x in found:\n  assert x", False),
        ("assert all(x for x in p.rglob('*'))", True),
        ("for x in p.rglob('*'):\n  print(x)", False),
        ("for x in (1, 2):\n  assert x", False),
    ):
        (function,) = ast.parse(f"def test():\n {body}\n").body
        assert isinstance(function, ast.FunctionDef)
        assert bool(may_look_at_nothing(function)) == wrong, body


def test_some_is_not_nothing() -> None:
    assert some(iter("ab")) == ["a", "b"]
    for found, least in (([], 1), ([1], 2)):
        with pytest.raises(AssertionError, match="at least"):
            some(found, least)
