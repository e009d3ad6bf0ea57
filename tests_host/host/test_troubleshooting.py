"""docs/troubleshooting.md has every event and every error text that a board can show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = CHECKOUT / "docs" / "troubleshooting.md"
SOURCES = [CHECKOUT / "boot.py", *sorted((CHECKOUT / "lib").rglob("*.py"))]

# What makes an error, or gives a version up, with a text for a person among its arguments.
MAKERS = {
    *("OtaError", "again", "refusal", "roll_back", "_leave"),
    *("ConfigError", "OSError", "RuntimeError", "ValueError"),
}
# Said when all is well.
GOOD = {"running", "wifi_up", "connected", "update", "verified", "handed_over", "confirmed"}


def texts(node: ast.expr) -> Iterator[str]:
    """The texts that an argument may be, with "…" for what is only known on the board."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from (re.sub(r"%\d*[a-z]", "…", text) for text in texts(node.left))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in texts(node.left):
            yield from (left + right for right in texts(node.right))
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        yield from texts(node.values[-1])
    else:
        yield "…"


def errors(source: str) -> set[str]:
    found = set()
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name in MAKERS:
                found |= {text for each in call.args for text in texts(each)}
    return {text for text in found if re.search("[a-z]{2}", text)}


def events(source: str) -> set[str]:
    return set(re.findall(r'log\(\s*"(?:info|warning|error)",\s*"(\w+)"', source))


def shown() -> set[str]:
    """What stands in code style, with and without the exception's name in front."""
    found = set(re.findall(r"`([^`]+)`", DOCUMENT.read_text()))
    return found | {re.sub(r"^\w*Error:? ", "", text) for text in found}


def test_texts_are_found_in_every_form() -> None:
    source = """
raise OtaError(_FAILED, "no %s in %d s" % (what, n))
raise again("closed: " + describe(error))
states.roll_back(state, "this" if crash else "the other")
_leave(state, ran and "went back", False)
raise OSError(errno.ENOENT)
"""
    found = {"no … in … s", "closed: …", "this", "the other", "went back"}
    assert errors(source) == found


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
    for line in DOCUMENT.read_text().splitlines():
        cell = line.split(" | ")[0].removeprefix("| ")
        for text in re.findall(r"`([^`]+)`", cell) if line.startswith("| `") else ():
            if " " in text and "…" in text and "_…" not in text:
                lost |= {re.sub(r"^\w*Error:? ", "", text)} - known
    # Made of parts that are no argument of a call.
    assert lost <= {"…", "HTTP …", "time_out: …", "flash: …"}
