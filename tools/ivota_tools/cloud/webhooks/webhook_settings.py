"""The servers that get messages. Only the configuration of the cloud can set them.

If a user of the console could choose a URL, the cloud would send requests into its own network
for that user.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..cloud_error import CloudError

SECRET_LEAST = 16  # characters


@dataclass(frozen=True)
class Target:
    """A URL, with a name that does not reveal the URL."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def host(self) -> str:
        return (urlsplit(self.url).hostname or "")[:256]


@dataclass(frozen=True)
class Webhooks:
    """All targets, and the secret that signs their messages."""

    targets: tuple[Target, ...] = ()
    secret: str = field(default="", repr=False)

    @staticmethod
    def of(urls: tuple[str, ...], secret: str | None) -> Webhooks:
        """Raises CloudError."""
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise CloudError(
                    "--webhook must be an http:// or https:// URL with a host and without a user "
                    f"name{f': correct the URL of {parts.hostname}' if parts.hostname else ''}"
                )
        if urls and len(secret or "") < SECRET_LEAST:
            raise CloudError(
                f"--webhook needs --webhook-secret-file with at least {SECRET_LEAST} characters"
            )
        if len(set(urls)) != len(urls):
            raise CloudError("--webhook specifies the same URL twice")
        return Webhooks(tuple(Target(url) for url in urls), secret or "")
