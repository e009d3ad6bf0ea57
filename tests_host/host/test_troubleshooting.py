"""docs/troubleshooting.md has every event and every error text that a board can show."""

from __future__ import annotations

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = CHECKOUT / "docs" / "troubleshooting.md"
SOURCES = [CHECKOUT / "boot.py", *sorted((CHECKOUT / "lib").rglob("*.py"))]

# Parts of texts, and of a request.
PARTS = {"(after …)", "a whole number", "true or false", "bytes …-"}
# Said when all is well.
GOOD = {"running", "network_up", "connected", "update", "verified", "handed_over", "confirmed"}


def text_of(node: ast.expr) -> str:
    """What an expression makes, with "…" for what is only known on the board."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return re.sub(r"%\d*[a-z]", "…", text_of(node.left))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return "…"


class _Texts(ast.NodeVisitor):
    """Finds every text of more than one word, docstrings apart."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._take(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not self._take(node):
            self.generic_visit(node)

    def _take(self, node: ast.expr) -> bool:
        text = text_of(node)
        words = re.findall(r"[a-z]{2,}|…|[A-Z]{2,}", text)
        seen = " " in text and len(words) > 1 and re.search("[a-z]{2}", text)
        if seen:
            self.found.add(text.strip(", "))
        return bool(seen)


def errors(source: str) -> set[str]:
    visitor = _Texts()
    visitor.visit(ast.parse(source))
    return visitor.found - PARTS


def events(source: str) -> set[str]:
    return set(re.findall(r'log\(\s*"(?:info|warning|error)",\s*"(\w+)"', source))


def shown() -> set[str]:
    """What stands in code style, with and without the exception's name in front."""
    found = set(re.findall(r"`([^`]+)`", DOCUMENT.read_text()))
    return found | {re.sub(r"^\w*Error:? ", "", text) for text in found}


def test_texts_are_found_in_every_form() -> None:
    source = '''
"""A docstring of many words."""
def fails():
    """Another of them."""
    raise OtaError(_FAILED, "no %s in %d s" % (what, n))
    raise again("closed it: " + describe(error))
    why = "crashed in %s" % name if crash else "went back, "
    log("warning", "event", why="one")
'''
    assert errors(source) == {"no … in … s", "closed it: …", "crashed in …", "went back"}


def test_every_error_text_is_there() -> None:
    found = {text for path in SOURCES for text in errors(path.read_text())}
    assert len(found) > 60
    assert sorted(found - shown()) == []


def test_every_event_is_there() -> None:
    found = {event for path in SOURCES for event in events(path.read_text())}
    assert len(found) > 20
    assert GOOD <= found
    assert sorted(found - shown() - GOOD) == []


def test_what_looks_like_an_error_text_is_in_the_code() -> None:
    """Rows whose first cell is texts only: one that the code has lost is to go."""
    known = {text for path in SOURCES for text in errors(path.read_text())}
    known |= {event for path in SOURCES for event in events(path.read_text())}
    lost = set()
    boards, _, _ = DOCUMENT.read_text().partition("\n## The cloud\n")
    for line in boards.splitlines():
        cell = line.split(" | ")[0].removeprefix("| ")
        for text in re.findall(r"`([^`]+)`", cell) if line.startswith("| `") else ():
            if " " in text and "…" in text and "_…" not in text:
                lost |= {re.sub(r"^\w*Error:? ", "", text)} - known
    # Of one word, or with the class of an error in front.
    assert lost <= {"…", "HTTP …", "flash: …"}
