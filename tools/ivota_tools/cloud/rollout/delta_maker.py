"""Make deltas for running campaigns, from the versions that their devices run.

No device waits for a delta: until it is ready, devices get the full firmware. There are no deltas
for signed firmware, because a board with keys accepts only a signed delta, and the cloud has no
private key.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.pool
import threading
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ...firmware import patch
from ...firmware.bundle import ReleaseError
from ...firmware.signed_file import split
from ..accounts import audit_log
from ..store.database import Database
from ..store.file_store import FileStore
from ..store.firmware_store import FirmwareError, Upload, register
from ..store.models import Campaign, Device, Firmware, Member
from .campaign_rules import RUNNING

log = logging.getLogger("ivota.cloud")

KINDS = ("bundle", "esp32-image")
LOOK_S = 5.0  # between two searches for campaigns that need deltas
SIZE_MOST = 8 * 1024 * 1024  # bytes of a firmware
VERSIONS_MOST = 5  # for each campaign: those that most of its devices run
PROCESSES = 2
ANSWER_S = 0.5  # between two checks whether the cloud is stopping
FAILED = "cannot make the delta from %s to %s: %s"
DELAYED = "cannot make the delta from %s to %s yet: %s"

Pair = tuple[Firmware, Firmware]  # the result and the base


class DeltaMaker:
    """A thread with a pool of processes: making a delta keeps a core busy for seconds."""

    def __init__(self, database: Database, store: FileStore) -> None:
        self._database, self._store = database, store
        self._stop = threading.Event()
        self._tried: set[tuple[int, int]] = set()  # pairs of ids, even without a useful delta
        self._thread = threading.Thread(target=self._run, name="deltas", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                with self._database.reading() as session:
                    pairs = [
                        (whole, base)
                        for whole, base in wanted(session)
                        if (whole.id, base.id) not in self._tried
                    ]
                if pairs:
                    self._make(pairs)
            except SQLAlchemyError as error:
                log.warning("cannot determine which deltas to make: %s", error)
            except Exception:
                log.exception("cannot make deltas")

    def _make(self, pairs: list[Pair]) -> None:
        # Do not fork: this process has threads, which a fork would leave in the middle of work.
        pool = multiprocessing.get_context("spawn").Pool(min(PROCESSES, len(pairs)))
        with pool, contextlib.ExitStack() as copies:
            made = []
            for whole, base in pairs:
                if self._stop.is_set():
                    return
                try:
                    paths = [
                        copies.enter_context(self._store.local(each.sha256))
                        for each in (base, whole)
                    ]
                except FileNotFoundError as error:
                    log.warning(FAILED, base.version, whole.version, error)
                    self._tried.add((whole.id, base.id))
                    continue
                except OSError as error:  # tried again at the next look
                    log.warning(DELAYED, base.version, whole.version, error)
                    continue
                words = (*paths, base.version, whole.kind)
                made.append(((whole, base), pool.apply_async(make, words)))
            for (whole, base), answer in made:
                data = self._result(answer, whole, base)
                if self._stop.is_set():
                    return  # the pool ends its processes immediately
                self._tried.add((whole.id, base.id))
                if data:
                    self._keep(data, whole, base)

    def _result(
        self,
        answer: multiprocessing.pool.AsyncResult[bytes | None],
        whole: Firmware,
        base: Firmware,
    ) -> bytes | None:
        while not self._stop.is_set():
            try:
                return answer.get(ANSWER_S)
            except multiprocessing.TimeoutError:
                continue
            except Exception as error:
                log.warning(FAILED, base.version, whole.version, error)
                return None
        return None

    def _keep(self, data: bytes, whole: Firmware, base: Firmware) -> None:
        try:
            with Upload(self._store.scratch, SIZE_MOST) as upload:
                upload.write(data)
                register(self._database, self._store, upload, None, None, audit_log.ENGINE)
        except FirmwareError as error:  # for example deleted in the meantime, or a full disk
            log.warning(
                "cannot store the delta from %s to %s: %s", base.version, whole.version, error
            )
            return
        log.info("made a delta from %s to %s: %d bytes instead of %d",
                 base.version, whole.version, len(data), whole.size)  # fmt: skip


def wanted(session: Session) -> list[Pair]:
    """Find the deltas that devices of running campaigns could use and that do not exist."""
    found: list[Pair] = []
    query = select(Campaign).where(Campaign.state == RUNNING).order_by(Campaign.id)
    for campaign in session.scalars(query):
        whole = campaign.firmware
        if whole.kind not in KINDS or whole.size > SIZE_MOST or whole.deleted_at is not None:
            continue
        there = select(Firmware.base_version).where(
            Firmware.whole_id == whole.id, Firmware.deleted_at.is_(None)
        )
        known = set(session.scalars(there))
        versions = (
            select(Device.version)
            .join(Member, Member.device_id == Device.id)
            .where(Member.campaign_id == campaign.id, Device.version.is_not(None))
            .where(Device.version != whole.version)
            .group_by(Device.version)
            .order_by(func.count().desc(), Device.version)
            .limit(VERSIONS_MOST)
        )
        for version in session.scalars(versions):
            base = session.scalar(
                select(Firmware)
                .where(Firmware.version == version, Firmware.kind == whole.kind)
                .where(Firmware.application == whole.application)
                .where(Firmware.whole_id.is_(None), Firmware.deleted_at.is_(None))
                .where(Firmware.size <= SIZE_MOST)
                .order_by(Firmware.id.desc())
                .limit(1)
            )
            if base is not None and version not in known:
                found.append((whole, base))
    return found


def make(base: Path, whole: Path, base_version: str, kind: str) -> bytes | None:
    """Make a delta, in a process of its own; None if it would not help or is not possible."""
    try:
        new = whole.read_bytes()
        if len(split(new)[0]) != len(new):
            return None  # it is signed
        data = patch.make(split(base.read_bytes())[0], new, base_version=base_version, kind=kind)
    except (OSError, patch.PatchError, ReleaseError):
        return None
    return data if len(data) < len(new) else None
