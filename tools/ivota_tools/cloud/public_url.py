"""The URL at which devices reach the cloud's HTTP port."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .cloud_error import CloudError

URL_MOST = 800  # characters; clients keep URLs of less than 1,000


def checked_url(url: str, *, tls: bool) -> str:
    """Return the URL without its usual port and final slash. Raises CloudError.

    tls   the cloud serves only HTTPS
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
        raise CloudError(
            f"--public-url {url!r} is not valid: use a URL such as http://192.168.1.10:8123"
        )
    # Quotes and backslashes are escaped in a push, and some clients leave escapes as they are.
    if len(url) > URL_MOST or not url.isascii() or re.search(r'[^!-~]|["\\]', url):
        raise CloudError(
            f"--public-url must have at most {URL_MOST} printable ASCII characters, without "
            "quotes or backslashes"
        )
    if tls and parts.scheme == "http":
        raise CloudError(
            f"--public-url {url!r} must begin with https://, because the cloud has a certificate"
        )
    return without_usual_port(url.rstrip("/"))


def without_usual_port(url: str) -> str:
    """Remove port 80 of http and 443 of https: some clients read it as part of the name."""
    return re.sub(r"^(http://[^/?#]+):80(?![^/?#])|^(https://[^/?#]+):443(?![^/?#])", r"\1\2", url)


def is_any(host: str) -> bool:
    """Return whether a server with this address listens on all interfaces."""
    return host in ("0.0.0.0", "::", "")


def bracket(host: str) -> str:
    """Return the address as it is written in a URL."""
    return f"[{host}]" if ":" in host else host
