"""Write many ids as short text in a form: 10,000 of them fit into its 64 kB.

Each item is the difference to the previous id, in base 36. A minus sign and a number after it
stand for as many further ids in a row: `1-3.a` is 1, 2, 3, 4 and 14.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..accounts.users import UserError

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ITEM = re.compile(r"([0-9a-z]{1,6})(?:-([0-9a-z]{1,6}))?")


def packed(ids: Iterable[int]) -> str:
    """Return ids, which must ascend, as text."""
    items: list[list[int]] = []
    last = 0
    for each in ids:
        if items and each == last + 1:
            items[-1][1] += 1
        else:
            items.append([each - last, 0])
        last = each
    return ".".join(_text(step) + (f"-{_text(more)}" if more else "") for step, more in items)


def unpacked(text: str, most: int) -> list[int]:
    """Return at most `most` ids. Raises UserError."""
    ids: list[int] = []
    last = 0
    for item in text.split(".") if text else ():
        match = _ITEM.fullmatch(item)
        step, more = (int(each or "0", 36) for each in match.groups()) if match else (0, 0)
        if step == 0 or len(ids) + more >= most or last + step + more >= 2**31:
            raise UserError("the list of devices is not valid: reload the page, and try again")
        ids += range(last + step, last + step + more + 1)
        last = ids[-1]
    return ids


def _text(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
