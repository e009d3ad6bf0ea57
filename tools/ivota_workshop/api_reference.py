"""Write docs/api.md, the public API, from docstrings, signatures and comments.

`python -m ivota_workshop.api_reference` writes it, and a test keeps it current. For boards, stubs/
determines what is public and its types; the text comes from lib/.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.common import project_files

DOCUMENT = "docs/api.md"

# Public modules and packages of the host, with their names, in the order of the page.
HOST = {
    "api_client": ("Client",),
    "common.api_connection": ("ApiError",),
    "firmware.release": ("pack", "sign", "inspect", "Release"),
    "firmware.bundle": ("ReleaseError",),
    "cloud.service": ("Cloud",),
    "cloud.settings": ("CloudSettings",),
    "sim.board": ("Board", "BoardError"),
    "sim.link_proxy": ("Proxy", "Cut"),
}
DEVICE = ("__init__", "agent", "result_codes", "config", "guarded_socket")

_HEAD = """\
# API

Written by `python -m ivota_workshop.api_reference` from the docstrings; all else in the code may
change. The types on boards are known to editors and to mypy where the wheel is installed, which
brings stubs for `ivota` ([CONTRIBUTING.md](../CONTRIBUTING.md#what-others-install)).

"""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class _Module:
    """A source file: its docstring, its definitions by name, and the comments at assignments."""

    doc: str
    defined: dict[str, Definition]
    lines: list[str]

    @classmethod
    def read(cls, path: Path) -> _Module:
        """Read a module, or all modules of a package with the package's own docstring."""
        if path.is_dir():
            first, *others = (cls.read(each) for each in sorted(path.glob("*.py")))
            for each in others:
                first.defined.update(each.defined)
                first.lines.extend(each.lines)
            return first
        text = path.with_suffix(".py").read_text()
        module = ast.parse(text)
        defined = {
            node.name: node
            for node in module.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        return cls(ast.get_docstring(module) or "", defined, text.splitlines())

    def comment(self, name: str) -> str:
        """Return the comment after the first assignment to `name`, in a module or on an object."""
        for line in self.lines:
            found = re.match(rf"\s*(self\.)?{name}(: [^=]+)? = .*?  # (.+)", line)
            if found:
                return found[3]
        return ""


def document() -> str:
    """Return the whole page."""
    parts = [_HEAD, "## On boards\n\n"]
    for name in DEVICE:
        title = "ivota" if name == "__init__" else f"ivota.{name}"
        source, nodes = _device(name)
        parts += _module(title, source, nodes)
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                exported = {each.asname for each in node.names}
                origin, found = _device(node.module)
                parts += _definitions(origin, [each for each in found if _name(each) in exported])
    parts.append("## On the host\n\n")
    for name, wanted in HOST.items():
        source = _Module.read(project_files.HERE / name.replace(".", "/"))
        nodes = [source.defined[each] for each in wanted]
        parts += _module(f"ivota_tools.{name}", source, nodes)
    return "".join(parts).rstrip("\n") + "\n"


def _device(name: str) -> tuple[_Module, list[ast.stmt]]:
    """Return a module for boards, and the statements of its stub."""
    stub = project_files.CHECKOUT / "stubs" / "ivota-stubs" / f"{name}.pyi"
    source = _Module.read(project_files.LIBRARY / "ivota" / name)
    return source, ast.parse(stub.read_text()).body


def _module(name: str, source: _Module, nodes: list[ast.stmt] | list[Definition]) -> Iterator[str]:
    yield f"### `{name}`\n\n{_words(source.doc)}"
    variables = [node for node in nodes if isinstance(node, ast.AnnAssign)]
    yield from _variables(variables, source)
    yield "\n" if variables else ""
    yield from _definitions(source, nodes)


def _definitions(source: _Module, nodes: list[ast.stmt] | list[Definition]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield from _class(node, source)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            words = _doc(source.defined.get(node.name)) or _doc(node)
            yield f"#### `{_signature(node)}`\n\n{_words(words)}"


def _class(node: ast.ClassDef, source: _Module) -> Iterator[str]:
    own = source.defined.get(node.name, node)
    assert isinstance(own, ast.ClassDef)
    typed = {each.name: each for each in _methods(node)}
    first = typed.get("__init__")
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    title = (
        _signature(first, node.name) if first else f"{node.name}({bases})" if bases else node.name
    )
    yield f"#### `{title}`\n\n{_words(_doc(own))}"
    attributes = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    yield from _variables([each for each in attributes if _public(each.target)], source)
    words = {each.name: _doc(each) for each in _methods(own)}
    for name, method in typed.items():
        if not name.startswith("_") and words.get(name):
            kind = {ast.unparse(each) for each in method.decorator_list}
            shown = name if "property" in kind else _signature(method)
            yield f"- `{shown}` — {_indented(words[name])}\n"
    yield "\n"


def _variables(nodes: list[ast.AnnAssign], source: _Module) -> Iterator[str]:
    for node in nodes:
        name = ast.unparse(node.target)
        words = source.comment(name)
        yield f"- `{name}: {ast.unparse(node.annotation)}`" + (f" — {words}" if words else "")
        yield "\n"


def _name(node: ast.stmt) -> str:
    return getattr(node, "name", "")


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    given = ast.unparse(node.args)
    given = re.sub(r"^(self|cls)(, )?", "", given)
    asked = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    result = ast.unparse(node.returns) if node.returns and not name else "None"
    return f"{asked}{name or node.name}({given})" + ("" if result == "None" else f" -> {result}")


def _public(target: ast.expr) -> bool:
    return not ast.unparse(target).startswith("_")


def _doc(node: Definition | None) -> str:
    return (ast.get_docstring(node) or "") if node else ""


def _words(text: str) -> str:
    """Return a docstring as Markdown, with links to its paths, which start at the checkout."""
    text = re.sub(r"\bdocs/(\w+\.md)", r"[docs/\1](\1)", text)
    return text + "\n\n" if text else ""


def _indented(text: str) -> str:
    lines = _words(text).strip().splitlines()
    return "\n".join(f"  {line}" if line else "" for line in lines).strip()


def main() -> None:
    (project_files.CHECKOUT / DOCUMENT).write_text(document())


if __name__ == "__main__":
    main()
