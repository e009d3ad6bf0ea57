"""Receive, check and register firmware, and find it by version."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...common.mapped_file import digests, mapped
from ...firmware import patch, release
from ...firmware.patch import Patch
from ...firmware.signed_file import split
from ..accounts import audit_log
from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..rollout import firmware_match
from . import file_sweep
from .database import Database
from .file_store import FileStore, StoreError
from .missing_chips import IMAGE, chip_in
from .models import Firmware

TRIES_MOST = 3  # if somebody deletes the same contents meanwhile
NAMED_MOST = 5  # files in a message


class FirmwareError(ValueError):
    """A firmware cannot be stored or found; `status` is the HTTP status.

    A message that names a command has another text for the console's pages, `on_page`.
    """

    def __init__(self, status: int, message: str, on_page: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.on_page = message if on_page is None else on_page


class Upload:
    """A file during its upload: written in pieces, and deleted unless it is kept."""

    def __init__(self, folder: Path, size_most: int) -> None:
        self._size_most = size_most
        self.size = 0
        self._md5, self._sha256 = hashlib.md5(), hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix="upload-", suffix=".part", dir=folder)
        self.path = Path(name)
        self._file = os.fdopen(handle, "wb")

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # closing retries a write that failed on a full disk
            self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Write a piece. Raises FirmwareError above the size limit or on a full disk."""
        self.size += len(data)
        if self.size > self._size_most:
            raise too_large(self._size_most)
        with storing():
            self._file.write(data)
        self._md5.update(data)
        self._sha256.update(data)

    def keep(self, store: FileStore) -> None:
        """Move the complete file into the store. Raises FirmwareError if that fails."""
        self.flush()
        with storing():
            store.put(self.path, self.sha256, self.md5)

    def keep_as(self, path: Path) -> None:
        """Move the complete file to a path in its folder. Raises FirmwareError on a full disk."""
        self.flush()
        with storing():
            os.fsync(self._file.fileno())
            self.path.replace(path)

    def flush(self) -> None:
        """Flush the file, so that it can be read. Raises FirmwareError on a full disk."""
        with storing():
            self._file.flush()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Turn a failure to write into a FirmwareError with status 507."""
    try:
        yield
    except StoreError as error:
        raise FirmwareError(503, f"cannot store the file: {error}") from None
    except OSError as error:
        raise FirmwareError(507, f"cannot store the file: {error.strerror}") from None


def too_large(size_most: int) -> FirmwareError:
    return FirmwareError(
        413,
        f"the firmware is too large: the maximum is {size_most} bytes; raise it with --max-upload",
        f"the firmware is too large: the maximum is {size_most:,} bytes",
    )


def register(
    database: Database,
    store: FileStore,
    upload: Upload,
    version: str | None,
    application: str | None,
    who: str,
    hardware: str | None = None,
) -> tuple[Firmware, list[str]]:
    """Store an upload; return its row with warnings. Raises FirmwareError.

    A bundle contains its version; other files need one from the uploader. The same file with the
    same version remains one firmware, however often it is uploaded; other contents for an existing
    application and version are rejected with status 409.
    """
    upload.flush()
    if upload.size == 0:
        raise FirmwareError(422, "the upload is empty")
    try:
        # Check before unpacking: the size of the known firmware limits the result.
        promised = _promised(upload.path)
        if promised:
            _whole(database, promised, version)
        release_ = release.inspect(upload.path)
        release.check_usable(release_)
        version = _agree("version", version, release_.version)
        application = _agree("application", application, release_.application)
        whole = _whole(database, release_.patch, version) if release_.patch else None
        if whole:
            version = whole.version
            application = _agree("application", application, whole.application)
        if version is None:
            raise FirmwareError(422, "this file does not contain its version: specify the version")
        warnings = release.check_version(version) + release.warnings(release_)
    except release.ReleaseError as error:
        raise FirmwareError(422, str(error)) from None
    if application is not None and not 0 < len(application) <= NAME_MOST:
        raise FirmwareError(422, f"an application's name must have 1 to {NAME_MOST} characters")
    if hardware is not None and not 0 < len(hardware) <= HARDWARE_MOST:
        raise FirmwareError(422, f"a hardware name must have 1 to {HARDWARE_MOST} characters")
    hardware = hardware or (release_.image.chip if release_.image else None)
    sha256 = upload.sha256
    name = _Name(version, application)
    chip = chip_in(upload.path) if release_.kind == IMAGE else ""
    signed_again: set[str] = set()
    if not release_.patch:  # a patch has the name of its result
        signed_again = _compare(database, store, name, upload)
    if not file_sweep.announce(database, sha256):
        raise _deleted_meanwhile()
    upload.keep(store)
    with database.writing() as session:
        if not release_.patch:
            # Another request may have been faster.
            for known in _namesakes(session, name):
                if known.sha256 not in (sha256, *signed_again):
                    raise _conflict(name, known, _sizes(known, upload))
        if not file_sweep.settle(session, sha256):
            raise _deleted_meanwhile()
        firmware = session.scalar(
            select(Firmware).where(Firmware.sha256 == sha256, Firmware.version == version)
        )
        is_new = firmware is None or firmware.deleted_at is not None
        if firmware is not None and firmware.deleted_at is not None:
            # Restore a deleted file, for what it is uploaded for now.
            firmware.deleted_at, firmware.uploaded_at = None, time.time()
            firmware.application, firmware.hardware = application, hardware
        elif firmware is not None:
            _expect_same_purpose(firmware, application, hardware)
        else:
            firmware = Firmware(
                version=version,
                application=application,
                hardware=hardware,
                kind=release_.kind,
                size=upload.size,
                md5=upload.md5,
                sha256=sha256,
                chip=chip,
                uploaded_at=time.time(),
                whole_id=whole and whole.id,
                base_version=release_.patch and release_.patch.base_version,
            )
            session.add(firmware)
        if is_new:
            audit_log.note(
                session, who, "firmware upload", version, size=upload.size, sha256=sha256
            )
        warnings += firmware_match.warnings(session, firmware)
    return firmware, warnings


def _expect_same_purpose(known: Firmware, application: str | None, hardware: str | None) -> None:
    """Raise FirmwareError if a known file is uploaded for something else."""
    for what, given, has in (
        ("application", application, known.application),
        ("hardware", hardware, known.hardware),
    ):
        if given not in (None, has):
            for_what = f"for the {what} {has}" if has else f"without {what}"
            raise FirmwareError(
                409,
                f"this file was already uploaded as {known.version} {for_what}, not for {given}: "
                "to change that, delete the firmware first",
            )


class _Name(NamedTuple):
    """The properties by which boards recognize a firmware."""

    version: str
    application: str | None


def _deleted_meanwhile() -> FirmwareError:
    return FirmwareError(503, "a file with the same contents is being deleted: upload it again")


def _payload(path: Path) -> str:
    """Hash a firmware without its signature."""
    return digests(path, len(split(mapped(path))[0])).sha256


def _namesakes(session: Session, name: _Name) -> Sequence[Firmware]:
    query = select(Firmware).where(Firmware.version == name.version, Firmware.whole_id.is_(None))
    return session.scalars(query.where(Firmware.application == name.application)).all()


def _compare(database: Database, store: FileStore, name: _Name, upload: Upload) -> set[str]:
    """Compare with the firmware of the same name; return the files that differ in the signature.

    A new signature is allowed: that is how boards roll back. Raises FirmwareError for
    different contents.
    """
    with database.reading() as session:
        others = [each for each in _namesakes(session, name) if each.sha256 != upload.sha256]
    payload = _payload(upload.path) if others else ""
    for known in others:
        what = _sizes(known, upload)
        with contextlib.suppress(OSError, release.ReleaseError):
            with store.local(known.sha256) as path:
                if _payload(path) == payload:
                    continue
                what = _changed_files(path, upload.path) or what
        raise _conflict(name, known, what)
    return {each.sha256 for each in others}


def _conflict(name: _Name, known: Firmware, difference: str) -> FirmwareError:
    what = f"{name.application} {name.version}" if name.application else name.version
    return FirmwareError(
        409,
        f"{what} already exists with different contents (firmware {known.id}): {difference}. "
        "Boards that run it would ignore this file. Upload the file as a new version or for "
        "another application",
    )


def _changed_files(old: Path, new: Path) -> str:
    """Name the files that differ in two bundles; "" for other firmware. Raises ReleaseError."""
    old_files, new_files = (
        {file.path: file.sha256 for file in release.inspect(each).files} for each in (old, new)
    )
    names = sorted(
        name for name in old_files.keys() | new_files.keys()
        if old_files.get(name) != new_files.get(name)
    )  # fmt: skip
    if not (old_files and new_files and names):
        return ""
    more = f" and {len(names) - NAMED_MOST} more files" if len(names) > NAMED_MOST else ""
    return f"it differs in {', '.join(names[:NAMED_MOST])}{more}"


def _sizes(known: Firmware, upload: Upload) -> str:
    return (
        f"it has {known.size} bytes, SHA-256 {known.sha256[:12]}…, and this file has "
        f"{upload.size} bytes, SHA-256 {upload.sha256[:12]}…"
    )


def _promised(path: Path) -> Patch | None:
    """Parse a patch's header; return None for any other file. Raises ReleaseError."""
    with path.open("rb") as file:
        head = file.read(512)
    if release.kind_of(head) != "patch":
        return None
    try:
        return patch.read(head)
    except patch.PatchError as error:
        raise release.ReleaseError(str(error)) from None


def _whole(database: Database, made: Patch, version: str | None) -> Firmware:
    """Find the result of a patch, which must have been uploaded first."""
    query = select(Firmware).where(
        Firmware.sha256 == made.result_sha256,
        Firmware.whole_id.is_(None),
        Firmware.deleted_at.is_(None),
    )
    if version is not None:
        query = query.where(Firmware.version == version)
    with database.reading() as session:
        found = session.scalar(query.order_by(Firmware.id.desc()).limit(1))
    if found is None:
        raise FirmwareError(
            422, "the result of this patch has not been uploaded: upload the full firmware first"
        )
    if found.size != made.result_size:
        raise FirmwareError(
            422, f"this patch produces {made.result_size} bytes, but the firmware has {found.size}"
        )
    return found


def _agree(what: str, said: str | None, inside: str | None) -> str | None:
    if said is not None and inside is not None and said != inside:
        raise FirmwareError(
            422, f"the file contains {what} {inside!r}, but the request specifies {said!r}"
        )
    return inside if said is None else said


def by_id(session: Session, number: int) -> Firmware:
    """Find a firmware by its id. Raises FirmwareError."""
    firmware = session.get(Firmware, number)
    if firmware is None or firmware.deleted_at is not None:
        raise FirmwareError(404, f"firmware id {number} does not exist")
    return firmware


def find(
    session: Session,
    version: str | None,
    firmware_id: int | None,
    application: str | None,
    device_runs: str | None = None,
) -> Firmware:
    """Find a firmware by id, or the newest upload of a version. Raises FirmwareError.

    If several applications have the version, it is the one that the device runs.
    """
    if firmware_id is not None:
        firmware = by_id(session, firmware_id)
        if firmware.whole_id is not None:
            raise FirmwareError(
                409,
                f"firmware {firmware_id} is a patch: push its result, firmware "
                f"{firmware.whole_id}, and devices that can use the patch will receive it",
            )
        return firmware
    query = select(Firmware).order_by(Firmware.id.desc())
    query = query.where(
        Firmware.version == version,
        Firmware.whole_id.is_(None),
        Firmware.deleted_at.is_(None),
    )
    if application is not None:
        query = query.where(Firmware.application == application)
    found = session.scalars(query).all()
    if not found:
        whose = f" of the application {application!r}" if application is not None else ""
        raise FirmwareError(
            404,
            f"firmware {version!r}{whose} does not exist: list the firmware with "
            "`ivota firmware`, or upload it with `ivota release --upload`",
        )
    names = sorted({firmware.application or "(none)" for firmware in found})
    if len(names) > 1:
        same = [each for each in found if device_runs and each.application == device_runs]
        if same:
            return same[0]
        raise FirmwareError(
            409,
            f"several applications have a version {version!r} ({', '.join(names)}): "
            "choose one with --application",
        )
    return found[0]
