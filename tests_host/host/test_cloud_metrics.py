"""Metrics for Prometheus, and the files in docs/monitoring/ that use them."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

import httpx
import pytest
from cloud_support import settle
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Certificate, Cloud
from ivota_tools.cloud.metrics.fleet_metrics import LATE_S
from ivota_tools.cloud.rollout.push_sender import count_due
from ivota_tools.cloud.store.backup import back_up
from ivota_tools.cloud.store.models import Assignment, Campaign
from ivota_workshop.bench.holds.devices import self_signed
from ivota_workshop.bench.operations import alerts, dashboard

TOKEN = "ivota_0123456789abcdefghijklmnopqrstuv"
DOCUMENT = Path(__file__).parents[2] / "docs" / "monitoring" / "README.md"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with Cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def scrape(cloud, **labels):
    """The samples, by name; those with these labels, if any are given."""
    answer = httpx.get(f"{cloud.api_url}/metrics", timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                found.setdefault(sample.name, []).append(sample.value)
    return found


def test_who_may_read_them(tmp_path):
    with Cloud(tmp_path, token=TOKEN) as closed:
        with Client(closed.api_url, TOKEN) as api:
            api.create_token("first", "admin")
            viewer = api.create_token("prometheus", "viewer")["token"]
        url = f"{closed.api_url}/metrics"
        assert httpx.get(url).status_code == 401
        for token, code in (("wrong", 401), (viewer, 200), (TOKEN, 200)):
            answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == code
        assert 'ivota_refusals_total{of="token"} 1.0' in answer.text


def test_each_kind_of_report_is_counted(cloud, device):
    device.hello("0.1")
    before = scrape(cloud)["ivota_batch_seconds_count"]
    device.publish(b"{")
    device.publish(b'{"type": "nothing"}')
    device.publish(b"{}", topic="$ota/report/P")
    settle(cloud, device)
    counts = {
        kind: scrape(cloud, kind=kind)["ivota_reports_total"][0]
        for kind in ("report_version", "garbled", "unknown", "stray")
    }
    assert all(counts.values()), counts
    assert scrape(cloud)["ivota_batch_seconds_count"] > before
    assert scrape(cloud, status="accepted")["ivota_devices"] == [1]
    assert scrape(cloud, within="1h")["ivota_devices_seen"] == [1]


def test_labels_are_bounded_whatever_is_asked(cloud):
    def ask(word):
        for path in (f"/devices/{word}", f"/{word}", f"/api/v1/devices/{word}", f"/files/{word}"):
            httpx.request("GET", cloud.api_url + path)
            httpx.request(f"M{word}", cloud.api_url + path)

    def series():
        text = httpx.get(f"{cloud.api_url}/metrics", timeout=WAIT_S).text
        return {line.split(" ")[0] for line in text.splitlines()}

    ask("900")
    series()  # its own route is one, too
    before = series()
    assert 'route="/devices/{id:int}"' in str(before) and 'method="other"' in str(before)
    for number in range(901, 911):
        ask(f"{number:05}")
    assert series() == before


def test_a_push_is_late_only_if_it_could_have_been_sent(tmp_path, cloud):
    (tmp_path / "f").write_bytes(b"x" * 1000)
    with Client(cloud.api_url) as api:
        api.upload(tmp_path / "f", "0.3")
        api.push("P/late", "0.3", new=True)
    now = time.time()
    with cloud.database.writing() as session:  # the worker waits meanwhile
        campaign = Campaign(
            name="c", firmware_id=1, query="all", state="running", stages=[], success_share=1,
            soak_s=0, stop_share=None, stop_least=1, only_outdated=True, created_at=now,
        )  # fmt: skip
        session.add(campaign)
        session.flush()
        session.execute(
            update(Assignment).values(next_push_at=now - LATE_S - 1, campaign_id=campaign.id)
        )
        assert count_due(session, now, now) == 1
        assert count_due(session, now, now - LATE_S) == 1
        assert count_due(session, now, now - LATE_S - 2) == 0
        campaign.state = "paused"
        session.flush()
        assert count_due(session, now, now) == 0
        session.rollback()


def test_a_broken_database_leaves_the_other_metrics(tmp_path):
    with Cloud(tmp_path) as cloud:
        assert "ivota_campaigns" in scrape(cloud)
        with sqlite3.connect(tmp_path / "ivota.db") as database:
            database.execute("ALTER TABLE campaigns RENAME TO gone")
        found = wait_until(lambda: (s := scrape(cloud)) and s["ivota_ready"] == [0] and s)
        assert "ivota_campaigns" not in found and found["ivota_broker_connected"] == [1]


def test_a_backup_and_a_certificate_have_their_times(tmp_path, caplog):
    certificate = Certificate(*self_signed(tmp_path))
    with Cloud(tmp_path / "data", certificate=certificate, token=TOKEN) as cloud:

        def look(name):
            token = {"Authorization": f"Bearer {TOKEN}"}
            text = httpx.get(f"{cloud.api_url}/metrics", headers=token, verify=False).text
            return float(re.search(rf"^{name}(?:{{.*}})? (.*)$", text, re.M)[1])

        assert look("ivota_backup_timestamp_seconds") == 0
        back_up(cloud.folder, None, tmp_path / "backup")
        assert look("ivota_backup_timestamp_seconds") > time.time() - 3600
        left = look("ivota_certificate_expiry_timestamp_seconds") - time.time()
        assert 0 < left <= 86400
        assert caplog.text.count(": renew it") == 1
        cloud.reload_certificate()
        assert caplog.text.count(": renew it") == 2


def test_every_metric_is_documented_and_used_by_its_name(tmp_path):
    certificate = Certificate(*self_signed(tmp_path))
    with Cloud(tmp_path / "data", certificate=certificate) as cloud:
        text = httpx.get(f"{cloud.api_url}/metrics", verify=False).text
    families = set(re.findall(r"^# TYPE (ivota_\w+) ", text, re.M))
    documented = set(re.findall(r"`(ivota_\w+)`", DOCUMENT.read_text()))
    assert documented == families
    suffixes = ("", "_bucket", "_count", "_sum")
    known = {name + suffix for name in families for suffix in suffixes}
    used = dashboard.metrics_named(" ".join(dashboard.queries().values()))
    used |= dashboard.metrics_named(alerts.RULES.read_text())
    assert len(used) > 20 and used <= known, used - known


def test_the_rules_are_right_and_each_alert_has_fired_and_been_silent():
    assert alerts.problems() == []
    assert alerts.tested() == set(alerts.names()) and len(alerts.names()) > 10
    documented = set(re.findall(r"`(Ivota\w+)`", DOCUMENT.read_text()))
    assert documented == set(alerts.names())
