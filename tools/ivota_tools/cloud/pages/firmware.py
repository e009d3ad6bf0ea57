"""Firmware: upload it, show its contents and its signer, and what its deltas save."""

from __future__ import annotations

import functools
from pathlib import Path

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common.version_order import key
from ...firmware import release
from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..rollout import failure_groups, firmware_match, firmware_removal
from ..store import file_sweep, firmware_store
from ..store.device_acceptance import ACCEPTED
from ..store.file_store import FileStore
from ..store.models import Assignment, Campaign, Device, Firmware
from .page_guard import acting, route
from .page_visit import Setting, Visit, whole
from .pagination import row

SHOWN = 200
CAMPAIGNS = 8  # latest ones of a firmware
LIBRARY = "lib/ivota/"


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/firmware", overview),
        route(setting, "/firmware/{id:int}", one),
        route(
            setting,
            "/firmware/{id:int}/delete",
            acting("/firmware", delete),
            method="POST",
            needed=OPERATOR,
        ),
    ]


def overview(visit: Visit) -> Response:
    with visit.database.reading() as session:
        deltas = select(Firmware.whole_id, func.count(), func.min(Firmware.size))
        deltas = deltas.where(
            Firmware.whole_id.is_not(None), Firmware.deleted_at.is_(None)
        ).group_by(Firmware.whole_id)
        smallest = {each[0]: each[1:] for each in session.execute(deltas).tuples()}
        counts = session.execute(
            select(Device.application, Device.version, func.count())
            .where(Device.status == ACCEPTED, Device.version.in_(select(Firmware.version)))
            .group_by(Device.application, Device.version)
        ).tuples().all()  # fmt: skip
        return visit.show(
            "firmware.html",
            firmware=[(each, at_hand(visit.setting.store, each)) for each in uploaded(session)],
            running={(name, version): count for name, version, count in counts},
            deltas=smallest,
            upload_most=visit.setting.upload_most,
            remote=visit.setting.store.remote,
        )


def uploaded(session: Session) -> list[Firmware]:
    """Return complete firmware, newest version first; if there are many, the latest uploads."""
    query = select(Firmware).where(Firmware.whole_id.is_(None), Firmware.deleted_at.is_(None))
    query = query.order_by(Firmware.id.desc())
    found = session.scalars(query.limit(SHOWN))
    return sorted(found, key=lambda each: (key(each.version), each.id), reverse=True)


def chosen(visit: Visit) -> int:
    """Return the id of the firmware that is selected in a form. Raises UserError without one."""
    if not (number := whole(visit.said("firmware"))):
        raise UserError("choose the firmware")
    return number


def one(visit: Visit) -> Response:
    with visit.database.reading() as session:
        found = row(session, Firmware, visit.number("id"))
        if found is None:
            raise HTTPException(404, "This firmware does not exist.")
        if found.whole_id is not None:  # a delta has no page: show the firmware it produces
            return visit.go(f"/firmware/{found.whole_id}")
        # Devices of an unknown application may run it, too.
        by_application = dict(
            session.execute(
                select(Device.application, func.count())
                .where(Device.version == found.version, Device.status == ACCEPTED)
                .where(or_(Device.application == found.application, Device.application.is_(None)))
                .group_by(Device.application)
            ).tuples().all()
        )  # fmt: skip
        states = session.execute(
            select(Assignment.state, func.count())
            .where(Assignment.current, Assignment.firmware_id == found.id)
            .group_by(Assignment.state)
        )
        held = inside(visit.setting.store, found)
        files = held.files if held else ()
        patches = session.scalars(
            select(Firmware)
            .where(Firmware.whole_id == found.id, Firmware.deleted_at.is_(None))
            .order_by(Firmware.size)
        ).all()
        used = session.scalars(
            select(Campaign)
            .where(Campaign.firmware_id == found.id)
            .order_by(Campaign.id.desc())
            .limit(CAMPAIGNS)
        ).all()
        all_used = session.scalar(
            select(func.count()).select_from(Campaign).where(Campaign.firmware_id == found.id)
        )
        running = sum(by_application.values())
        return visit.show(
            "firmware_one.html",
            firmware=found,
            inside=held,
            remote=visit.setting.store.remote,
            warnings=release.check_version(found.version)
            + ([] if running else firmware_match.warnings(session, found)),
            own=[each for each in files if not each.path.startswith(LIBRARY)],
            library=[each for each in files if each.path.startswith(LIBRARY)],
            running=running,
            only=found.application if None not in by_application else None,
            states=dict(states.tuples().all()),
            failures=failure_groups.groups(session, found),
            campaigns=used,
            more_campaigns=(all_used or 0) - len(used),
            patches=patches,
        )


def delete(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = firmware_store.by_id(session, visit.number("id"))
        version = found.version
        firmware_removal.delete_firmware(
            session, found, visit.who, visit.setting.channels.values()
        )
    file_sweep.sweep(visit.database, visit.setting.store)
    return f"{version} was deleted."


def inside(store: FileStore, firmware: Firmware) -> release.Release | None:
    """Return a description of the file's contents, or None while it is missing or damaged."""
    try:
        with store.local(firmware.sha256) as path:
            return _inspected(path)
    except (OSError, release.ReleaseError):
        return None


def at_hand(store: FileStore, firmware: Firmware) -> release.Release | None:
    """Return this description without fetching the file, for long lists."""
    path = store.at_hand(firmware.sha256)
    try:
        return _inspected(path) if path else None
    except (OSError, release.ReleaseError):
        return None


# The content for a given digest never changes.
@functools.lru_cache(maxsize=256)
def _inspected(path: Path) -> release.Release:
    return release.inspect(path)
