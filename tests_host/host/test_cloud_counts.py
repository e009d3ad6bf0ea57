"""The kept numbers of a campaign's devices are those of a count, whatever happens."""

import json
import random
import time

import postgres_support
import pytest
import sqlalchemy as sa

from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import (
    campaign_actions,
    campaign_counts,
    campaign_progress,
    campaign_removal,
    campaign_selection,
    device_actions,
    push_sender,
)
from ivota_tools.cloud.rollout.assignment_states import BackOff
from ivota_tools.cloud.rollout.campaign_actions import CampaignError
from ivota_tools.cloud.rollout.device_actions import UpdateStateError
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.device_acceptance import StatusError
from ivota_tools.cloud.store.models import Campaign, CampaignCount, Device, Firmware

DEVICES, STEPS = 30, 160


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, monkeypatch):
    for module, name, value in (
        (campaign_selection, "MOST", 20), (campaign_counts, "ROWS_MOST", 12),
        (campaign_actions, "BREATH_S", 0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    where = tmp_path / "n.db" if request.param == "sqlite" else postgres_support.new_database()
    made = Database(where)
    with made.writing() as session:
        session.add_all(
            Firmware(version=f"0.{n}", kind="other", size=9, md5="m", sha256=f"{n}", uploaded_at=0)
            for n in (2, 3)
        )
    yield made
    made.close()


class World:
    """Devices and operators that do anything, in any order."""

    def __init__(self, database, seed):
        self.database, self.draw, self.now = database, random.Random(seed), time.time()
        self.devices = [f"d{n}" for n in range(DEVICES)]
        self.reports([(name, None) for name in self.devices])

    def reports(self, said):
        batch = []
        for name, progress in said:
            report = {"type": "report_version", "report": {"version": "0.1"}}
            if progress:
                report = {"type": "report_progress", "report": progress}
            payload = json.dumps(report).encode()
            batch.append(Message(f"$ota/report/P/{name}", payload, 1, False, 1, 1))
        with self.database.writing() as session:
            take_in(session, batch, self.now, BackOff(1, 1))
            push_sender.push_due(session, self.now, lambda *_: ("http://h/", False), 1)

    def progress(self):
        state = self.draw.choice(("downloading", "burning", "done", "done", "fail", "fail"))
        code = str(self.draw.choice((-1, -4, -5))) if state == "fail" else "0"
        return {
            "progress": {"state": state, "percent": "50", "result_code": code, "result_msg": ""},
            "version": self.draw.choice(("0.2", "0.3")),
        }

    def devices_say(self):
        some = self.draw.sample(self.devices, 12)
        self.reports([(each, self.draw.choice((None, self.progress()))) for each in some])

    def tick(self):
        self.now += 5
        with self.database.writing() as session:
            campaign_progress.tick(session, self.now)

    def campaign(self):
        with self.database.writing() as session:
            made = Campaign(
                name="c", firmware_id=self.draw.choice((1, 2)), query="all", state="draft",
                stages=[{"count": 2}, {"percent": 50}], success_share=0.1, soak_s=0.0,
                stop_share=self.draw.choice((None, 0.9)), stop_least=5, created_at=self.now,
                timeout_s=self.draw.choice((None, 90.0)), only_outdated=False,
            )  # fmt: skip
            session.add(made)
            session.flush()
            campaign_actions.start(session, made, self.now, "maria")

    def on_campaign(self):
        with self.database.reading() as session:
            ids = session.scalars(sa.select(Campaign.id)).all()
        number = self.draw.choice(ids or [0])
        what = self.draw.choice(("retry", "retry", "pause", "resume", "cancel", "delete"))
        if what == "retry":
            campaign_actions.retry_failed(self.database, number, self.now, "maria")
        elif what == "cancel":
            campaign_actions.cancel(self.database, number, self.now, "maria")
        elif what == "delete":
            campaign_removal.delete_campaign(self.database, number, "maria")
        else:
            with self.database.writing() as session:
                act = getattr(campaign_actions, what)
                act(session, session.get_one(Campaign, number), "maria")

    def on_device(self):
        with self.database.writing() as session:
            name = self.draw.choice(self.devices)
            device = session.scalar(sa.select(Device).where(Device.device_name == name))
            what = self.draw.choice(("retry", "cancel", "push", "retire", "accept"))
            if what == "retry":
                device_actions.retry_device(session, device, self.now, "maria")
            elif what == "cancel":
                device_actions.cancel_device(session, device, self.now, "maria")
            elif what == "push":
                device_actions.push(session, device, session.get_one(Firmware, 2), "maria")
            elif what == "retire":
                device_actions.retire_device(session, device, "maria")
            else:
                device_actions.accept_device(session, device, "maria")

    def remove(self):
        with self.database.reading() as session:
            number = session.scalar(
                sa.select(Device.id).where(Device.device_name == self.draw.choice(self.devices))
            )
        device_actions.delete_device(self.database, number, "maria")
        self.reports([(name, None) for name in self.devices])  # it comes back

    def step(self):
        actions = (self.devices_say,) * 5 + (self.tick,) * 5 + (
            self.campaign, self.on_campaign, self.on_device, self.on_device, self.remove,
        )  # fmt: skip
        action = self.draw.choice(actions)
        try:
            action()
        except (CampaignError, StatusError, UpdateStateError, sa.exc.NoResultFound):
            pass  # refused: it must have changed nothing
        return action.__name__


def compare(database, after):
    with database.reading() as session:
        ids = session.scalars(sa.select(Campaign.id)).all()
        kept = campaign_counts.kept(session, ids)
        assert kept == campaign_counts.counted(session, ids), after
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_random_events(database, seed):
    world = World(database, seed)
    world.campaign()
    kinds = set()
    for _ in range(STEPS):
        did = world.step()
        kinds |= {place[2] for place in compare(database, did)}
    assert len(kinds) > 8, kinds
    with database.reading() as session:
        rows = session.scalar(sa.select(sa.func.count()).select_from(CampaignCount))
        places = session.scalar(sa.select(sa.func.count(Campaign.id)))
    assert rows < 100 * max(places, 1), "the rows are summed up"


def test_wrong_numbers_are_corrected_at_the_start(database):
    world = World(database, 1)
    world.campaign()
    world.tick()
    right = compare(database, "start")
    with database.writing() as session:
        session.execute(sa.update(CampaignCount).values(change=CampaignCount.change + 1))
    assert campaign_counts.repair(database) == [1]
    assert compare(database, "repair") == right and campaign_counts.repair(database) == []


def test_a_tally_costs_the_same_however_many_devices_there_are(database):
    """It reads one row for each stage and state, and the changes since they were summed up."""
    World(database, 1).campaign()
    read = []

    def asked(_connection, _cursor, statement, *_):
        read.append(statement)

    sa.event.listen(database._engine, "before_cursor_execute", asked)
    with database.reading() as session:
        campaign = session.get_one(Campaign, 1)
        read.clear()
        tallies = campaign_counts.tally(session, campaign)
    assert sum(each.members for each in tallies) == 20 and len(read) == 1  # of its first step
    assert "members" not in read[0] and "assignments" not in read[0]
