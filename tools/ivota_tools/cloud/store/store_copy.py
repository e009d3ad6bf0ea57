"""Copy firmware files from one store to another, such as from a folder to a bucket and back."""

from __future__ import annotations

import secrets
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...common.mapped_file import PIECE, digests
from ...common.progress import Begin, silent
from ..cloud_error import CloudError
from . import s3_connection
from .download_urls import PresignedLinks
from .file_store import FileStore, FolderStore, Stored, StoreError
from .firmware_store import FirmwareError, Upload
from .s3_store import S3Store

TIMEOUT_S = 20.0


class Copied(NamedTuple):
    """How many files a copy has copied, and how many were there already."""

    copied: int
    skipped: int


def open_place(text: str, scratch: Path) -> FileStore:
    """Return the store that a command names: a bucket, or a folder with firmware files.

    `scratch` is for files on their way. Raises CloudError.
    """
    if "://" not in text:
        return FolderStore(Path(text))
    place, session = s3_connection.Place.read(text), s3_connection.session()
    return S3Store(place, scratch, session, PresignedLinks(session, place), cache_most=0)


def copy(
    source: FileStore, to: FileStore, progress: Begin = silent, verify: bool = False
) -> Copied:
    """Copy the files that `to` lacks; with `verify`, read all of them there afterwards.

    An interrupted copy can be resumed. Raises CloudError or OSError.
    """
    files = list(source.files())
    there = {each.sha256: each.size for each in to.files()}
    missing = [each for each in files if there.get(each.sha256) != each.size]
    for each in _each(missing, progress, f"copying {_files(len(missing))}"):
        _copy_one(source, to, each.sha256, each.size)
    found = {each.sha256: each.size for each in to.files()} if missing else there
    if lost := [each for each in files if found.get(each.sha256) != each.size]:
        raise CloudError(f"{to.name} lacks {_files(len(lost))} after the copy: try again")
    for each in _each(files if verify else [], progress, f"comparing {_files(len(files))}"):
        _verify(to, each.sha256)
    return Copied(len(missing), len(files) - len(missing))


def _each(files: list[Stored], progress: Begin, what: str) -> Iterator[Stored]:
    """Yield the files, and show how many bytes of them are done."""
    total, before = sum(each.size for each in files), 0
    if not total:
        return
    at = progress(what, total)
    for each in files:
        yield each
        before += each.size
        at(before / total)


def _copy_one(source: FileStore, to: FileStore, sha256: str, size: int) -> None:
    with source.local(sha256) as path, Upload(to.scratch, size) as upload:
        try:
            with path.open("rb") as file:
                while data := file.read(PIECE):
                    upload.write(data)
            if upload.sha256 != sha256:
                raise _damaged(source, sha256)
            upload.keep(to)
        except FirmwareError as error:
            raise CloudError(str(error)) from None


def _verify(store: FileStore, sha256: str) -> None:
    with store.local(sha256) as path:
        if digests(path).sha256 != sha256:
            raise _damaged(store, sha256)


def _damaged(store: FileStore, sha256: str) -> CloudError:
    return CloudError(
        f"{store.name} has a damaged file: the bytes of {sha256}.bin do not have this SHA-256. "
        "Move it away, and upload the firmware again"
    )


def check(url: str) -> int:
    """Store, read, and delete a small file, and download it like a device.

    Returns the characters of the signed URL. Raises CloudError or OSError.
    """
    data = secrets.token_bytes(1000)
    with tempfile.TemporaryDirectory(prefix="ivota-store-") as scratch:
        store = open_place(url, Path(scratch))
        store.start()
        try:
            with Upload(store.scratch, len(data)) as upload:
                upload.write(data)
                upload.keep(store)
            try:
                _verify(store, upload.sha256)
                link = store.link(upload.sha256, 60) or ""
                if _download(link) != data:
                    raise StoreError("the signed URL does not return the bytes that were stored")
            finally:
                store.delete(upload.sha256)
        except FirmwareError as error:
            raise CloudError(str(error)) from None
        finally:
            store.stop()
    return len(link)


def _files(count: int) -> str:
    return f"{count} firmware file{'' if count == 1 else 's'}"


def _download(link: str) -> bytes:
    try:
        with urllib.request.urlopen(link, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read(1 << 20))
    except (urllib.error.URLError, ValueError) as error:
        where = link.partition("?")[0]
        raise StoreError(f"devices cannot download from {where}: {error}") from None
