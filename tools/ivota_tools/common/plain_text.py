"""Make untrusted text safe for terminals and logs by escaping unprintable characters."""

from __future__ import annotations

import re

# Control characters, marks that change the text direction, and lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str, lines: bool = False) -> str:
    """Escape unprintable characters, for example as `\\x1b`; `lines` keeps newlines and tabs."""
    made = _UNSAFE.sub(lambda found: _written(found[0]), text)
    return made if lines else made.replace("\n", "\\n").replace("\t", "\\t")


def _written(sign: str) -> str:
    known = {"\r": "\\r"}
    code = ord(sign)
    return known.get(sign) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
