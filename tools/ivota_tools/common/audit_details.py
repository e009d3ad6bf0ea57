"""Format the details of an entry of the audit log."""

from __future__ import annotations

import json

from .quantities import number, size

_COUNTS = {"devices", "messages", "times", "updates"}  # keys of audit entries


def detail(text: str) -> str:
    """Return the JSON of an audit entry as words."""
    if not text:
        return ""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    parts = []
    for key, value in said.items():
        if isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        elif key == "size" and isinstance(value, int):
            value = size(value)
        elif key in _COUNTS and isinstance(value, int):
            value = number(value)
        elif key == "sha256":
            value = f"{value}"[:12] + "…"
        parts.append(key if value is True else f"{key}: {value}")
    return "; ".join(parts)
