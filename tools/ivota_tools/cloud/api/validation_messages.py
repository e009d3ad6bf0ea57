"""Explain in one sentence what is wrong with a request, instead of with pydantic's messages."""

from __future__ import annotations

from typing import Any

_BOUNDS = {
    "greater_than": ("must be greater than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}
_KINDS = {
    "json_invalid": "is not valid JSON",
    "missing": "is missing",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "extra_forbidden": "is not a known field",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
}


def field(problem: Any) -> str:
    """Return the outermost field of the request that is wrong, or "" for its whole body."""
    if problem["type"] == "json_invalid":
        return ""
    where = [str(each) for each in problem["loc"] if each not in ("body", "query", "path")]
    return where[0] if where else ""


def text(problem: Any, shown: Any = lambda bound: f"{bound:,.10g}") -> str:
    """Return what is wrong; `shown` formats a bound."""
    context = problem.get("ctx") or {}
    if problem["type"] in _BOUNDS:
        words, key = _BOUNDS[problem["type"]]
        return f"{words} {shown(context[key])}"
    if problem["type"] == "too_long":
        return f"must have at most {context['max_length']} entries"
    if problem["type"] == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if problem["type"] in _KINDS:
        return _KINDS[problem["type"]]
    if "error" in context:
        return str(context["error"])  # one of our own validators
    return str(problem["msg"]).replace("Input should", "must")
