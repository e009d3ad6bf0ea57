"""The HTTP API of groups and queries."""

from __future__ import annotations

import time

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..rollout import device_query
from ..store.database import Database
from ..store.models import Group
from .device_schemas import DeviceOut, device_out
from .group_schemas import GroupIn, GroupOut
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import existing, rows_after


def routes(database: Database, *, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    def shown(session: Session, group: Group) -> GroupOut:
        count = device_query.count(session, group.query, time.time())
        return GroupOut(
            id=group.id,
            name=group.name,
            query=group.query,
            devices=count,
            report_interval_s=group.report_interval_s,
        )

    @router.get("/groups")
    def get_groups(after: After = 0, limit: Page = 100) -> list[GroupOut]:
        """List the groups; `after` is the last id of the previous page."""
        with database.reading() as session:
            found = rows_after(session, select(Group), Group.id, after, limit)
            return [shown(session, each) for each in found]

    @router.put("/groups")
    def put_group(given: GroupIn, who: str = Depends(may)) -> GroupOut:
        """Create a group or change it; campaigns that have started do not change."""
        with database.writing() as session:
            return shown(session, put(session, given, who))

    @router.get("/groups/{group_id}/devices")
    def get_group_devices(
        group_id: Number, after: After = 0, limit: Page = 1000
    ) -> list[DeviceOut]:
        """List a group's devices by id; `after` is the last id of the previous page."""
        with database.reading() as session:
            group = _group(session, group_id)
            found = device_query.find(session, group.query, time.time(), after, limit)
            return [device_out(each) for each in found]

    @router.delete("/groups/{group_id}", status_code=204)
    def delete_group(group_id: Number, who: str = Depends(may)) -> None:
        with database.writing() as session:
            remove(session, _group(session, group_id), who)

    @router.get("/query")
    def get_query(text: str = "", after: After = 0, limit: Page = 1000) -> list[DeviceOut]:
        """List the devices that match a query, such as `tag:beta version<0.2 -name:lab-*`, by id;
        `after` is the last id of the previous page.
        """
        with database.reading() as session:
            found = device_query.find(session, text, time.time(), after, limit)
            return [device_out(each) for each in found]

    return router


def put(session: Session, given: GroupIn, who: str) -> Group:
    """Validate a query. Raises QueryError."""
    device_query.expect_words(given.query)
    group = session.scalar(select(Group).where(Group.name == given.name))
    if group is None:
        group = Group(name=given.name, query=given.query, created_at=time.time())
        session.add(group)
    group.query = given.query
    if given.report_interval_s is not None:
        seconds = given.report_interval_s
        group.report_interval_s = None if seconds == "none" else seconds
    audit_log.note(
        session,
        who,
        "group set",
        given.name,
        query=given.query,
        report_interval_s=given.report_interval_s,
    )
    session.flush()
    return group


def remove(session: Session, group: Group, who: str) -> None:
    session.delete(group)
    audit_log.note(session, who, "group removed", group.name)


def _group(session: Session, group_id: int) -> Group:
    return existing(session, Group, group_id, "group")
