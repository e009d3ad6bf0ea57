"""Keep firmware in an object store, with copies of the files that this machine reads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..cloud_error import CloudError
from . import s3_connection
from .download_urls import Links
from .file_cache import BYTES_MOST, FileCache
from .file_store import FileStore, Stored, StoreError, digest_in, file_name
from .s3_connection import Misconfigured, Place, words

log = logging.getLogger("ivota.cloud")

PART = 16 << 20  # bytes; the store accepts at least 5 MiB, and 10,000 parts
PIECE = 1 << 20  # bytes in memory of a file that is fetched
LOOK_S = 30.0  # between two checks whether the store works
TIDY_S = 3600.0  # between two searches for uploads that were interrupted
STALE_S = 86400.0  # an upload in parts that is older was interrupted
TRIES = 3  # to fetch a file, each from where the last one ended
KIND = "application/octet-stream"


class S3Store(FileStore):
    """A bucket, or a part of one: the files whose keys begin with a prefix.

    `cache` is a folder of this machine for copies and for files that are being received. `session`
    has the credentials.
    """

    remote = True

    def __init__(
        self, place: Place, cache: Path, session: Any, links: Links, cache_most: int = BYTES_MOST
    ) -> None:
        self.name, self.scratch = place.url, cache
        self._place, self._cache = place, FileCache(cache, cache_most)
        self._client: Any = s3_connection.client(session)
        self._links = links
        self._trouble: OSError | None = None
        self._next_tidy = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        super().start()
        self._look()
        if self._trouble is None:
            self._expect_region()
        if isinstance(self._trouble, Misconfigured):
            raise CloudError(str(self._trouble))
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        """Check the store, and get credentials for the next URLs."""
        trouble: OSError | None = None
        try:
            self.note("id")
            self._links.refresh()
        except OSError as error:
            trouble = error
        except Exception as error:
            log.exception("cannot check the object store")
            trouble = StoreError(f"cannot check {self.name}: {error!r}")
        if trouble and str(trouble) != str(self._trouble):
            log.error("%s", trouble)
        if self._trouble and not trouble:
            log.warning("%s works again", self.name)
        self._trouble = trouble

    def _expect_region(self) -> None:
        """Raise CloudError if URLs would be signed for another region than the bucket's.

        The library itself follows to the right region, but devices cannot.
        """
        mine = self._client.meta.region_name
        try:
            with words(self._place, "ask for the bucket's region"):
                found = self._client.head_bucket(Bucket=self._place.bucket)
        except OSError:  # not needed for anything else
            return
        region = found.get("BucketRegion")
        if region and mine not in (region, "aws-global"):
            raise CloudError(
                f"the bucket {self._place.bucket} is in the region {region}, not in {mine}: set "
                f"AWS_DEFAULT_REGION={region}"
            )

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def problem(self) -> str | None:
        trouble = self._trouble
        return None if trouble is None else str(trouble)

    def link(self, sha256: str, seconds: float) -> str | None:
        return self._links.link(sha256, seconds)

    # -- the files

    def put(self, path: Path, sha256: str, md5: str) -> None:
        size = path.stat().st_size
        with path.open("rb") as file, words(self._place, "store the firmware"):
            os.fsync(file.fileno())  # the copy in the cache must be complete after a power cut
            if size <= PART:
                self._client.put_object(
                    **self._where(sha256),
                    Body=file,
                    ContentType=KIND,
                    ContentMD5=_base64(bytes.fromhex(md5)),
                )
            else:
                self._put_parts(file, sha256)
        self._cache.take(path, sha256)

    def _put_parts(self, file: Any, sha256: str) -> None:
        """Store a large file: nothing of it is visible until the store has all of its parts."""
        where = self._where(sha256)
        upload = self._client.create_multipart_upload(**where, ContentType=KIND)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            while data := file.read(PART):
                number = len(parts) + 1
                done = self._client.upload_part(
                    **where,
                    UploadId=upload,
                    PartNumber=number,
                    Body=data,
                    ContentMD5=_base64(hashlib.md5(data, usedforsecurity=False).digest()),
                )
                parts.append({"ETag": done["ETag"], "PartNumber": number})
            self._client.complete_multipart_upload(
                **where, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with contextlib.suppress(Exception):  # otherwise `tidy` does it
                self._client.abort_multipart_upload(**where, UploadId=upload)
            raise

    def local(self, sha256: str) -> contextlib.AbstractContextManager[Path]:
        return self._cache.using(sha256, lambda: self._fetch(sha256))

    def at_hand(self, sha256: str) -> Path | None:
        return self._cache.at_hand(sha256)

    def _fetch(self, sha256: str) -> Path:
        """Download a file and check its bytes. Raises FileNotFoundError or StoreError."""
        handle, name = tempfile.mkstemp(prefix="fetch-", suffix=".part", dir=self.scratch)
        path = Path(name)
        made = hashlib.sha256()
        try:
            with os.fdopen(handle, "wb") as file:
                for left in reversed(range(TRIES)):
                    try:
                        self._continue(sha256, file, made)
                        break
                    except (FileNotFoundError, Misconfigured):
                        raise
                    except StoreError:
                        if not left:
                            raise
                file.flush()
                os.fsync(file.fileno())
            if made.hexdigest() != sha256:
                raise StoreError(
                    f"{self.name}/{file_name(sha256)} is damaged: its contents do not match "
                    "the SHA-256 in its name"
                )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _continue(self, sha256: str, file: Any, made: Any) -> None:
        at = file.tell()
        part = {"Range": f"bytes={at}-"} if at else {}
        with words(self._place, "read the firmware"):
            body = self._client.get_object(**self._where(sha256), **part)["Body"]
            with contextlib.closing(body):
                while data := body.read(PIECE):
                    file.write(data)
                    made.update(data)

    def delete(self, sha256: str) -> None:
        with words(self._place, "delete the firmware"):
            self._client.delete_object(**self._where(sha256))
        self._cache.drop(sha256)

    def files(self) -> Iterator[Stored]:
        pages = self._client.get_paginator("list_objects_v2")
        with words(self._place, "list the firmware"):
            where = {"Bucket": self._place.bucket, "Prefix": self._place.prefix}
            for page in pages.paginate(**where, Delimiter="/"):
                for each in page.get("Contents", ()):
                    if sha256 := digest_in(each["Key"][len(self._place.prefix) :]):
                        yield Stored(sha256, each["Size"])

    def note(self, name: str) -> str:
        key = self._place.prefix + name
        try:
            with words(self._place, "read from the store"):
                body = self._client.get_object(Bucket=self._place.bucket, Key=key)["Body"]
                with contextlib.closing(body):
                    return str(body.read(1024).decode("ascii", "replace").strip())
        except FileNotFoundError:
            return ""

    def keep_note(self, name: str, text: str) -> None:
        key = self._place.prefix + name
        if self.note(name) != text:
            with words(self._place, "write to the store"):
                self._client.put_object(
                    Bucket=self._place.bucket, Key=key, Body=f"{text}\n".encode()
                )

    def tidy(self) -> None:
        if time.monotonic() < self._next_tidy:
            return
        self._next_tidy = time.monotonic() + TIDY_S
        where = {"Bucket": self._place.bucket}
        with words(self._place, "look for interrupted uploads (s3:ListBucketMultipartUploads)"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(**where, Prefix=self._place.prefix):
                for each in page.get("Uploads", ()):
                    if time.time() - each["Initiated"].timestamp() > STALE_S:
                        self._client.abort_multipart_upload(
                            **where, Key=each["Key"], UploadId=each["UploadId"]
                        )
                        log.info("deleted the parts of an interrupted upload: %s", each["Key"])

    def _where(self, sha256: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + file_name(sha256)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
