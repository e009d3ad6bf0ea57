"""Where the cloud keeps firmware, and how devices get it from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..cloud_error import CloudError
from .file_store import FileStore, FolderStore

FOLDER, CACHE = "firmware", "store-cache"  # in the data directory


@dataclass(frozen=True)
class StoreSettings:
    """An object store. Raises CloudError if the settings contradict each other.

    url     s3://bucket/prefix
    proxy   devices download through the cloud, not from the store
    cdn     the URL of a CDN at which devices find the files
    key_id  names the key that signs the CDN's URLs, as CloudFront does
    key     this private key (PEM)
    """

    url: str
    proxy: bool = False
    cdn: str | None = None
    key_id: str | None = None
    key: bytes | None = None

    def __post_init__(self) -> None:
        from .s3_connection import Place

        Place.read(self.url)
        if (self.key_id is None) != (self.key is None):
            raise CloudError("--store-key-id and --store-key-file must be used together")
        if self.key_id and not self.cdn:
            raise CloudError("--store-key-id and --store-key-file need --store-url")
        if self.cdn and self.proxy:
            raise CloudError("--store-url and --store-proxy cannot be used together")
        if self.cdn:
            parts = urlsplit(self.cdn)
            printable = self.cdn.isascii() and self.cdn.isprintable() and " " not in self.cdn
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
                raise CloudError(
                    f"--store-url {self.cdn!r} must be an http or https URL without a query"
                )
            if not printable or set('"\\') & set(self.cdn):
                raise CloudError("--store-url must have only printable ASCII characters")


def open_store(settings: StoreSettings | None, data: Path) -> FileStore:
    """Return the store of a data directory. Raises CloudError."""
    if settings is None:
        return FolderStore(data / FOLDER)
    from . import s3_connection
    from .download_urls import CdnLinks, Links, NoLinks, PresignedLinks
    from .s3_store import S3Store

    place, session = s3_connection.Place.read(settings.url), s3_connection.session()
    links: Links
    if settings.cdn:
        links = CdnLinks(settings.cdn, settings.key_id, settings.key)
    elif settings.proxy:
        links = NoLinks()
    else:
        links = PresignedLinks(session, place)
    return S3Store(place, data / CACHE, session, links)
