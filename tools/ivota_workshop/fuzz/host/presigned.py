"""The query of a pre-signed URL: only what was signed here, and has not expired, is served."""

from __future__ import annotations

from urllib.parse import parse_qs

from ivota_tools.cloud.downloads import signed_urls

SECRET = b"secret"
NOW = 1_700_000_000.0
EXPIRES = 1_700_000_600


def check(data: bytes) -> str:
    # As the web framework takes a URL apart; the path's last part is the firmware's number.
    place, _, query = data.decode("latin-1").partition("?")
    found = parse_qs(query, keep_blank_values=True, errors="replace")
    word = place[:18]
    number = int(word) if word.isascii() and word.isdigit() else -1
    expires, sign = (found.get(name, [""])[-1] for name in ("expires", "sign"))
    if not signed_urls.is_valid(SECRET, number, expires, sign, NOW):
        return "403"
    # Only this one was ever signed, by whoever made the seeds.
    assert (number, int(expires)) == (7, EXPIRES), "signed by nobody"
    assert sign == signed_urls.signature(SECRET, 7, EXPIRES), "another signature"
    return "served"
