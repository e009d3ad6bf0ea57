"""Check a pre-signed URL's query: only one that we signed, and has not expired, is served."""

from __future__ import annotations

from urllib.parse import parse_qs

from ivota_tools.cloud.downloads import signed_urls

SECRET = b"secret"
NOW = 1_700_000_000.0
EXPIRES = 1_700_000_600


def check(data: bytes) -> str:
    # Parsed like the web framework does; the path's last part is the firmware's number.
    place, _, query = data.decode("latin-1").partition("?")
    found = parse_qs(query, keep_blank_values=True, errors="replace")
    word = place[:18]
    number = int(word) if word.isascii() and word.isdigit() else -1
    expires, sign = (found.get(name, [""])[-1] for name in ("expires", "sign"))
    if not signed_urls.is_valid(SECRET, number, expires, sign, NOW):
        return "403"
    # The seeds contain the only signature that was ever made.
    assert (number, int(expires)) == (7, EXPIRES), "signed by nobody"
    assert sign == signed_urls.signature(SECRET, 7, EXPIRES), "another signature"
    return "served"
