"""The fields of the boards' plain objects: what their docstring lists is what the code sets."""

import ast
import re
from collections import defaultdict
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "lib" / "ivota"
SOURCES = {path.stem: ast.parse(path.read_text()) for path in sorted(LIBRARY.glob("*.py"))}
# Where a class is, and by which names the code calls what is of it.
CLASSES = {
    "Push": ("firmware_offer", ("push", "firmware")),
    "Job": ("update", ("job",)),
}


def definition(name: str) -> ast.ClassDef:
    module = SOURCES[CLASSES[name][0]]
    return next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == name)


def own(name: str) -> set[str]:
    """What the class and its own methods set."""
    found = {
        node.attr
        for node in ast.walk(definition(name))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }
    for node in definition(name).body:
        if isinstance(node, ast.Assign):
            found |= {ast.unparse(target) for target in node.targets}
    return found


def elsewhere(name: str) -> dict[str, set[str]]:
    """Field → the modules that set it on an object of that name."""
    called = CLASSES[name][1]
    found = defaultdict(set)
    for module, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if ast.unparse(node.value).rpartition(".")[2] in called:
                    found[node.attr].add(module)
    return found


def listed(name: str) -> dict[str, set[str]]:
    """Field → the modules that the docstring names for it, in the brackets at its end."""
    text = ast.get_docstring(definition(name)) or ""
    entries = re.findall(r"^(\w+): (.*(?:\n    .*)*)", text, re.M)
    found = {}
    for field, said in entries:
        said = " ".join(said.split())
        modules = [re.findall(r"\w+", part) for part in re.findall(r"\(([^()]*)\)", said)]
        found[field] = {each for part in modules for each in part if each in SOURCES}
    return found


def test_every_field_of_a_push_is_listed_with_the_modules_that_set_it() -> None:
    name = "Push"
    home = CLASSES[name][0]
    wanted = elsewhere(name)
    for field in own(name):
        wanted[field].add(home)
    said = listed(name)
    assert sorted(said) == sorted(wanted) and wanted
    for field, modules in wanted.items():
        assert said[field] | {home} == modules | {home}, field


def test_nobody_but_a_target_sets_its_fields() -> None:
    for module, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                owner = ast.unparse(node.value).rpartition(".")[2]
                assert owner not in ("target", "files"), f"{module}: {ast.unparse(node)}"


def test_the_phases_of_a_job_are_modules_and_all_of_them() -> None:
    steps = {
        module
        for module, tree in SOURCES.items()
        if any(isinstance(n, ast.FunctionDef) and n.name == "step" for n in tree.body)
    }
    text = ast.get_docstring(definition("Job")) or ""
    assert set(re.findall(r"^(\w+): ", text, re.M)) == steps


def test_the_phases_set_only_fields_that_a_job_has_from_the_start() -> None:
    assert set(elsewhere("Job")) <= own("Job")
