"""Parse a Range header: the range sent lies within the file. The input begins with its size."""

from __future__ import annotations

from ivota_tools.cloud.downloads import http_range


def check(data: bytes) -> str:
    number, _, header = data.partition(b"\n")
    size = int(number) if number.isdigit() and len(number) < 12 else 1000
    part = http_range.choose(header.decode("latin-1"), size)
    if part is None:
        return "416"
    assert 0 <= part.start <= size and 0 <= part.length <= size - part.start
    if not part.partial:
        assert (part.start, part.length) == (0, size)
        return "whole"
    assert part.length > 0
    return f"{part.start}-{part.start + part.length - 1}"
