"""A campaign selects its devices in short steps: each may be the last of a process."""

import functools
import random
import time

import postgres_support
import pytest
import sqlalchemy as sa

from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import (
    campaign_actions,
    campaign_assignments,
    campaign_counts,
    campaign_preview,
    campaign_progress,
    campaign_removal,
    campaign_selection,
    device_query,
    missing_downloads,
    push_sender,
)
from ivota_tools.cloud.rollout.assignment_states import BackOff
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import (
    Assignment,
    Campaign,
    Device,
    DeviceTag,
    Firmware,
    Member,
)

COUNT = 600
TAGS = (), (), ("chip-esp32c3",), ("chip-esp32", "red"), ("chip-esp32", "chip-esp32c3"), ("red",)
STAGES = [{"count": 7}, {"percent": 10}, {"percent": 50}]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_selection, "MOST", 50)
    where = tmp_path / "s.db" if request.param == "sqlite" else postgres_support.new_database()
    made = Database(where)
    crowd(made)
    yield made
    made.close()


def crowd(database):
    draw = random.Random(3)
    with database.writing() as session:
        session.add(Firmware(version="0.10", kind="other", size=9, md5="m", sha256="s",
                             application="blink", hardware="esp32c3", chip="esp32c3",
                             uploaded_at=0))  # fmt: skip
        session.add_all(
            Device(
                product_id=draw.choice("PPPQ"),
                device_name=f"d{number}",
                version=draw.choice((None, "0.2", "0.9", "0.10", "0.11", "1.0-rc1")),
                application=draw.choice((None, "blink", "blink", "lamp")),
                hardware=draw.choice((None, "esp32c3", "ESP32C3", "esp32")),
                chip=draw.choice((None, None, "esp32c3", "esp32")),
                tags=[DeviceTag(tag=each) for each in draw.choice(TAGS)],
                status=draw.choice(("accepted",) * 5 + ("retired",)),
            )
            for number in range(COUNT)
        )


def campaign(database, **rules):
    """Start a campaign; return its id and the number of devices that it plans."""
    with database.writing() as session:
        made = Campaign(**{
            "name": "c", "firmware_id": 1, "query": "product:P", "state": "draft",
            "stages": STAGES, "success_share": 0.5, "soak_s": 0.0, "stop_least": 1,
            "only_outdated": True, "created_at": time.time(), **rules,
        })  # fmt: skip
        session.add(made)
        session.flush()
        planned = campaign_preview.make(session, made, time.time())
        campaign_actions.start(session, made, time.time(), "maria")
        assert made.selection is not None
        return made.id, planned


def members(session, number):
    query = sa.select(Member.device_id, Member.stage).where(Member.campaign_id == number)
    return dict(session.execute(query).tuples().all())


def tick(database):
    with database.writing() as session:
        return campaign_progress.tick(session, time.time())


def finish(database, number):
    """Tick until the selection is complete; return its members."""
    while True:
        with database.reading() as session:
            if session.get_one(Campaign, number).selection is None:
                return members(session, number)
        tick(database)


@pytest.mark.parametrize("mismatched", [False, True])
def test_a_kill_at_any_step_loses_and_repeats_nothing(database, mismatched):
    number, planned = campaign(database, mismatched=mismatched)
    killed = steps = 0
    draw = random.Random(8)
    while True:
        with database.reading() as session:
            before = session.get_one(Campaign, number).selection, members(session, number)
            if before[0] is None:
                break
        with pytest.raises(KeyboardInterrupt), database.writing() as session:
            campaign_progress.tick(session, time.time())
            if draw.random() < 0.5:
                killed += 1
                raise KeyboardInterrupt
            session.commit()
            raise KeyboardInterrupt
        with database.reading() as session:
            after = session.get_one(Campaign, number).selection, members(session, number)
            assigned = session.scalar(sa.select(sa.func.count()).select_from(Assignment))
            assert assigned == (0 if after[0] else 7)
        steps += after != before
    assert steps >= COUNT // 50 and killed > 2
    stages = list(before[1].values())
    sizes = [sum(stages.count(n) for n in range(stage + 1)) for stage in range(4)]
    assert sizes == list(planned.sizes) and len(stages) == planned.total
    first = [device for device, stage in before[1].items() if stage == 0]
    assert max(first) - min(first) > COUNT // 4, "the first stage is no sample"
    with database.reading() as session:
        taken = session.get_one(Campaign, number)
        wanted = campaign_selection.conditions(session, taken)
        assert set(before[1]) == set(session.scalars(sa.select(Device.id).where(*wanted)))


def test_who_comes_later_is_not_taken_and_who_leaves_holds_nothing_up(database):
    number, planned = campaign(database, query="all", only_outdated=False, mismatched=True)
    with database.writing() as session:
        session.add(Device(product_id="P", device_name="late", version="0.1"))
        gone = session.scalars(sa.select(Member.device_id).limit(3)).all()
        session.execute(sa.delete(Member).where(Member.device_id.in_(gone)))
    found = finish(database, number)
    assert len(found) == planned.total - 3 and sum(each == 0 for each in found.values()) == 7
    with database.reading() as session:
        late = device_query.find(session, "name:late", 0, 0, 1)[0]
        assert late.id not in found


def test_pause_resume_and_cancel_meanwhile(database):
    number, planned = campaign(database)
    with database.writing() as session:
        campaign_actions.pause(session, session.get_one(Campaign, number), "maria")
    assert len(finish(database, number)) == planned.total
    tick(database)
    with database.writing() as session:
        paused = session.get_one(Campaign, number)
        assert campaign_counts.states(session, paused) == {"queued": planned.total}
        campaign_actions.resume(session, paused, "maria")
    tick(database)
    with database.reading() as session:
        states = campaign_counts.states(session, session.get_one(Campaign, number))
        assert states.pop("queued") == planned.total - 7 and sum(states.values()) == 7
    other, _ = campaign(database)
    campaign_actions.cancel(database, other, time.time(), "maria")
    with database.reading() as session:
        cancelled = session.get_one(Campaign, other)
        assert cancelled.ended_at and cancelled.selection is None
        some = members(session, other)
    tick(database)
    assert finish(database, other) == some


def statements(database, step):
    """Return how many statements a step takes."""
    found = []

    def note(*_):
        found.append(1)

    sa.event.listen(database._engine, "before_cursor_execute", note)
    step()
    sa.event.remove(database._engine, "before_cursor_execute", note)
    return len(found)


def test_reports_are_stored_between_two_steps(database):
    """A step costs the same statements however many devices there are."""
    number, _ = campaign(database)
    counts = set()
    for _ in range(6):
        counts.add(statements(database, lambda: tick(database)))
        with database.writing() as session:
            take_in(session, [], time.time(), BackOff())
    assert len(counts) == 1 and max(counts) < 16
    with database.reading() as session:
        assert session.get_one(Campaign, number).selection is not None


def test_targets_in_chunks_of_the_same_statements(database, monkeypatch):
    """Whoever is killed, pauses or cancels in between: each device has one target, or none."""
    monkeypatch.setattr(campaign_assignments, "MOST", 20)
    number, planned = campaign(database, stages=[], query="all", mismatched=True)
    finish(database, number)  # and the first chunk

    def given(session):
        query = sa.select(sa.func.count()).where(Member.campaign_id == number)
        return session.scalar(query.where(Member.assignment_id.is_not(None)))

    costs = set()
    for chunk in (20, 60):
        monkeypatch.setattr(campaign_assignments, "MOST", chunk)
        with database.reading() as session:
            before = given(session)
        with pytest.raises(KeyboardInterrupt), database.writing() as session:
            campaign_progress.tick(session, time.time())
            raise KeyboardInterrupt
        costs.add(statements(database, lambda: tick(database)))
        with database.reading() as session:
            assert given(session) == before + chunk
    assert len(costs) == 1
    with database.writing() as session:
        campaign_actions.pause(session, session.get_one(Campaign, number), "maria")
    tick(database)
    with database.writing() as session:
        assert given(session) == 100 < planned.total
        campaign_actions.resume(session, session.get_one(Campaign, number), "maria")
    tick(database)
    with database.reading() as session:
        members_of = sa.select(Member).where(Member.assignment_id.is_not(None))
        for member in session.scalars(members_of).unique():
            attempt, version = member.assignment, member.device.version
            assert member.device.assignment is attempt and attempt.campaign_id == number
            assert attempt.state == "waiting" and attempt.hard_failures == 0
            assert (attempt.next_push_at is None) == (version is None)
        revisions = session.scalars(sa.select(Device.revision).where(Device.revision > 0)).all()
        assert len(set(revisions)) == len(revisions) == given(session) == 160
    campaign_actions.cancel(database, number, time.time(), "maria")
    tick(database)
    with database.reading() as session:
        cancelled = session.get_one(Campaign, number)
        states = {"cancelled": 160, "queued": planned.total - 160}
        assert campaign_counts.states(session, cancelled) == states
        assert campaign_counts.kept(session, [number]) == campaign_counts.counted(
            session, [number]
        )


def test_pushes_and_ends_take_the_same_statements_for_more_devices(database, monkeypatch):
    """Even if neighbours change different columns."""
    monkeypatch.setattr(campaign_assignments, "MOST", 250)
    number, _ = campaign(database, stages=[], query="all", mismatched=True, timeout_s=50.0)
    finish(database, number)
    later = time.time() + 100

    def push(most):
        monkeypatch.setattr(push_sender, "PUSHES_MOST", most)
        with database.storing() as session:
            push_sender.push_due(session, time.time(), lambda *_: ("http://h/", False), 1)

    def mark(most):
        monkeypatch.setattr(missing_downloads, "MOST", most)
        with database.writing() as session:
            missing_downloads.mark(session, later)

    def end(most, change):
        monkeypatch.setattr(campaign_assignments, "MOST", most)
        with database.writing() as session:
            change(session, session.get_one(Campaign, number))

    def time_out(session, _):
        campaign_progress.tick(session, later)

    def cancel(session, taken):
        campaign_actions.cancel_some(session, taken, later)

    push(500)
    with database.writing() as session:
        for change in (
            "next_push_at = 1 WHERE pushes > 0 AND id % 2 = 0",
            "state = 'downloading', percent = 3 WHERE pushes > 0 AND id % 3 = 0",
        ):
            session.execute(sa.text(f"UPDATE assignments SET {change}"))
    for act, *more in (push,), (mark,), (end, time_out), (end, cancel):
        costs = [
            statements(database, functools.partial(act, most, *more)) for most in (10, 30, 60)
        ]
        assert max(costs) <= min(costs) + 2 < 25, (act, more)  # a session takes more numbers


def test_a_campaign_of_many_is_deleted_in_batches(database, monkeypatch):
    monkeypatch.setattr(campaign_removal, "MEMBERS_MOST", 40)
    monkeypatch.setattr(campaign_actions, "BREATH_S", 0)
    number, _ = campaign(database)
    assert len(finish(database, number)) > 80
    for _ in range(3):
        tick(database)
    campaign_actions.cancel(database, number, time.time(), "maria")
    transactions = []
    sa.event.listen(database._engine, "commit", lambda _connection: transactions.append(1))
    assert campaign_removal.delete_campaign(database, number, "maria") == "c"
    assert len(transactions) > 2
    with database.reading() as session:
        assert members(session, number) == {} and session.get(Campaign, number) is None
        kept = session.scalars(sa.select(Assignment)).all()
        assert kept and all(each.campaign_id is None for each in kept)
