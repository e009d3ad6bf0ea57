"""Store the number of a campaign's devices by stage and state, instead of counting the devices.

When a session writes members or attempts, it also inserts a row for each change of a number, so
that transactions which store reports never wait for each other's rows. A number is the sum of its
rows. Statements that change many members must insert these rows with `note` or `note_rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    case,
    delete,
    event,
    false,
    func,
    insert,
    inspect,
    literal,
    select,
)
from sqlalchemy.orm import Session

from ..store.database import Database
from ..store.models import Assignment, Campaign, CampaignCount, Member
from . import assignment_states, campaign_rules
from .campaign_rules import Tally

_OPEN = tuple(
    state for state in assignment_states.UNFINISHED if state != assignment_states.CURRENT
)
_LEFT_OUT = (
    assignment_states.SUPERSEDED,
    assignment_states.SKIPPED,
    assignment_states.CANCELLED,
)

QUEUED = "queued"  # a device whose stage has not started
ROWS_MOST = 300  # of a campaign, before `fold` sums them up


class Kind(NamedTuple):
    """How a member is counted: by the state of its attempt, and by one more property.

    `marked`: the device ran the target without a push (CURRENT), has failed and is retried, or had
    failed when it left the campaign.
    """

    state: str = QUEUED
    marked: bool = False


Place = tuple[int, int, Kind]  # a campaign, a stage and a kind


def tally(session: Session, campaign: Campaign) -> list[Tally]:
    """Return the counts of each stage."""
    return list(_tallies(session, [campaign.id], lambda place: place[1]).values())


def tallies(session: Session, ids: Sequence[int]) -> dict[int, Tally]:
    """Return the counts of several campaigns; campaigns without devices are omitted."""
    return _tallies(session, ids, lambda place: place[0])


def states(session: Session, campaign: Campaign) -> dict[str, int]:
    """Return the number of devices in each state; QUEUED means that the stage has not started."""
    found: Counter[str] = Counter()
    for (_, _, kind), count in kept(session, [campaign.id]).items():
        found[kind.state] += count
    return dict(found)


def _tallies(
    session: Session, ids: Sequence[int], part_of: Callable[[Place], int]
) -> dict[int, Tally]:
    found: dict[int, Tally] = {}
    for place, count in sorted(kept(session, ids).items()):
        part = part_of(place)
        found[part] = found.get(part, Tally()) + _tally(place[2], count)
    return found


def _tally(kind: Kind, count: int) -> Tally:
    state, marked = kind
    left_out = state in _LEFT_OUT
    return Tally(
        members=count,
        good=count
        * (state == assignment_states.DONE or (state == assignment_states.CURRENT and marked)),
        failed=count * (state == assignment_states.FAILED),
        left_out=count * left_out,
        # A download that failed may be the fault of a network: it counts when it is given up.
        failing=count * (state in _OPEN and marked),
        given_up=count * (left_out and marked),
    )


def kept(session: Session, ids: Sequence[int]) -> dict[Place, int]:
    """Return the stored numbers of several campaigns."""
    by = (
        CampaignCount.campaign_id,
        CampaignCount.stage,
        CampaignCount.state,
        CampaignCount.marked,
    )
    rows = session.execute(
        select(*by, func.sum(CampaignCount.change))
        .where(CampaignCount.campaign_id.in_(ids))
        .group_by(*by)
    ).tuples()
    found = {
        (campaign, stage, Kind(state, marked)): int(change)
        for campaign, stage, state, marked, change in rows
    }
    return {place: count for place, count in found.items() if count}


def counted(session: Session, ids: Sequence[int]) -> dict[Place, int]:
    """Recount the devices of several campaigns, which takes longer for larger campaigns."""
    rows = session.execute(_counting(Member.campaign_id.in_(ids))).tuples()
    return {
        (campaign, stage, Kind(state, bool(marked))): count
        for campaign, stage, state, marked, count in rows
    }


def repair(database: Database) -> list[int]:
    """Compare the numbers of campaigns that have not ended with a count; return the corrected
    campaigns.
    """
    going = (campaign_rules.RUNNING, campaign_rules.PAUSED, campaign_rules.STOPPED)
    wrong = []
    with database.reading() as session:
        for number in session.scalars(select(Campaign.id).where(Campaign.state.in_(going))).all():
            if kept(session, [number]) != counted(session, [number]):
                wrong.append(number)
    for number in wrong:
        with database.writing() as session:
            recount(session, number)
    return wrong


def recount(session: Session, number: int) -> None:
    """Replace the stored numbers of a campaign by a count."""
    forget(session, number)
    note_rows(session, Member.campaign_id == number)


def forget(session: Session, number: int) -> None:
    session.execute(delete(CampaignCount).where(CampaignCount.campaign_id == number))


def fold(session: Session, campaign: Campaign) -> None:
    """Replace a campaign's rows by their sums when there are many."""
    of_campaign = CampaignCount.campaign_id == campaign.id
    rows = session.scalar(select(func.count()).where(of_campaign)) or 0
    if rows > ROWS_MOST:
        # Sum up exactly the deleted rows: others may be added meanwhile.
        gone = session.execute(
            delete(CampaignCount)
            .where(of_campaign)
            .returning(
                CampaignCount.stage,
                CampaignCount.state,
                CampaignCount.marked,
                CampaignCount.change,
            ),
            execution_options={"synchronize_session": False},
        ).tuples()
        sums: Counter[Place] = Counter()
        for stage, state, marked, change in gone:
            sums[campaign.id, stage, Kind(state, marked)] += change
        note(session, sums)


def note(session: Session, changes: dict[Place, int]) -> None:
    """Insert a row for each changed number."""
    rows = [
        {"campaign_id": campaign, "stage": stage, "state": state, "marked": marked,
         "change": change}
        for (campaign, stage, (state, marked)), change in changes.items() if change
    ]  # fmt: skip
    if rows:
        session.execute(insert(CampaignCount.__table__), rows)  # type: ignore[arg-type]


def note_rows(session: Session, *which: ColumnElement[bool], gone: bool = False) -> None:
    """Note the members that meet the conditions: they were inserted, or will be deleted."""
    columns = ("campaign_id", "stage", "state", "marked", "change")
    found = _counting(*which, sign=-1 if gone else 1)
    session.execute(insert(CampaignCount).from_select(columns, found))


def _counting(*which: ColumnElement[bool], sign: int = 1) -> Any:
    state = func.coalesce(Assignment.state, QUEUED)
    marked = case(
        (Assignment.state == assignment_states.CURRENT, Assignment.pushes == 0),
        (Assignment.state.in_(_LEFT_OUT), Assignment.failure_code.is_not(None)),
        (Assignment.state.in_(_OPEN), Assignment.hard_failures > 0),
        else_=false(),
    )
    by = (Member.campaign_id, Member.stage, state.label("state"), marked.label("marked"))
    change = (func.count() * literal(sign)).label("change")
    return select(*by, change).outerjoin(Member.assignment).where(*which).group_by(*by)


def _kind(state: str, pushes: int, hard_failures: int, failure_code: int | None) -> Kind:
    """Return what `_counting` counts, for one attempt."""
    if state == assignment_states.CURRENT:
        return Kind(state, not pushes)
    if state in _LEFT_OUT:
        return Kind(state, failure_code is not None)
    return Kind(state, state in _OPEN and bool(hard_failures))


@event.listens_for(Session, "after_flush")
def _note_flush(session: Session, _: object) -> None:
    """Note what a session has just written. The objects still contain their previous values."""
    changed = {
        each.id: kinds
        for each in session.dirty
        if isinstance(each, Assignment) and len(set(kinds := _kinds(each))) == 2
    }
    written = [each for each in (*session.new, *session.dirty) if isinstance(each, Member)]
    changes: Counter[Place] = Counter()
    for member in written:
        for place, sign in _moves(session, member):
            changes[place] += sign
    if changed:
        own = {(each.campaign_id, each.device_id) for each in written}
        found = select(
            Member.campaign_id, Member.device_id, Member.stage, Member.assignment_id
        ).where(Member.assignment_id.in_(changed))
        for campaign, device, stage, number in session.execute(found).tuples():
            if (campaign, device) not in own and number is not None:
                before, after = changed[number]
                changes[campaign, stage, before] -= 1
                changes[campaign, stage, after] += 1
    note(session, changes)


def _moves(session: Session, member: Member) -> Iterable[tuple[Place, int]]:
    """Return the old and the new place of a new or changed member."""
    (stage, now_stage), (attempt, now_attempt) = (
        _values(member, name) for name in ("stage", "assignment_id")
    )
    if member not in session.new:
        yield (member.campaign_id, stage, _kinds_of(session, attempt)[0]), -1
    yield (member.campaign_id, now_stage, _kinds_of(session, now_attempt)[1]), 1


def _kinds_of(session: Session, number: int | None) -> tuple[Kind, Kind]:
    attempt = None if number is None else session.get(Assignment, number)
    return (Kind(), Kind()) if attempt is None else _kinds(attempt)


def _kinds(attempt: Assignment) -> tuple[Kind, Kind]:
    """Return an attempt's kind before and after it was written."""
    names = ("state", "pushes", "hard_failures", "failure_code")
    befores, afters = zip(*(_values(attempt, name) for name in names), strict=True)
    return _kind(*befores), _kind(*afters)


def _values(item: Assignment | Member, name: str) -> tuple[Any, Any]:
    state: Any = inspect(item)
    history = state.attrs[name].history
    now = getattr(item, name)
    return (history.deleted[0] if history.deleted else now), now
