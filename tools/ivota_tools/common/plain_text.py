"""Text from elsewhere, made safe for a terminal and a log: what does not print is written out."""

from __future__ import annotations

import re

# Control characters, what turns the direction of a line round, and half a character alone.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str, lines: bool = False) -> str:
    """`\\x1b` in place of an escape, and so on; ends of lines and tabs stay where `lines`."""
    made = _UNSAFE.sub(lambda found: _written(found[0]), text)
    return made if lines else made.replace("\n", "\\n").replace("\t", "\\t")


def _written(sign: str) -> str:
    known = {"\r": "\\r"}
    code = ord(sign)
    return known.get(sign) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
