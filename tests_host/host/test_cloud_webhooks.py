"""Webhooks: what is sent, signed, repeated, given up and never lost."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import shutil
import threading
import time
from collections import namedtuple

import pytest
from pages_support import Visitor, let_in
from sqlalchemy import select, update
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cli import app
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.store.models import Assignment, Campaign, Setting, WebhookMessage
from ivota_tools.cloud.webhooks import delivery, outbox, sender
from ivota_tools.cloud.webhooks.webhook_settings import Webhooks

SECRET = "a secret of thirty-two characters"


class Receiver(http.server.ThreadingHTTPServer):
    """Answers as it is told to, and keeps what it got."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.code, self.got, self.arrived = 200, [], threading.Condition()
        self.drips, self.ended = False, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/a-secret-path"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait(self, count):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, WAIT_S), self.got
            return self.got[count - 1]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        with contextlib.suppress(OSError):
            if server.drips:  # a head that never ends
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while server.drips and not server.ended.wait(0.05):
                self.wfile.write(b"x")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.arrived:
            server.got.append((dict(self.headers), body, self.path))
            server.arrived.notify_all()
        self.send_response(server.code)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made
        made.ended.set()
        made.shutdown()


@pytest.fixture
def cloud(tmp_path, receiver):
    (tmp_path / "f").write_bytes(b"x" * 1000)
    with Cloud(tmp_path / "c", webhooks=[receiver.url], webhook_secret=SECRET) as running:
        yield running


def verify(headers, body):
    """As Standard Webhooks says; returns the message."""
    found = {name.lower(): value for name, value in headers.items()}
    signed = f"{found['webhook-id']}.{found['webhook-timestamp']}.".encode() + body
    right = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert found["webhook-signature"] == f"v1,{base64.b64encode(right).decode()}"
    assert abs(int(found["webhook-timestamp"]) - time.time()) < 600
    return json.loads(body)


def messages(cloud):
    with cloud.database.reading() as session:
        return session.scalars(select(WebhookMessage).order_by(WebhookMessage.id)).all()


def test_failed_devices_and_ended_campaigns_are_told_once(tmp_path, cloud, receiver):
    with Client(cloud.api_url) as api:
        api.upload(tmp_path / "f", "0.3")
        for number in range(3):
            api.push(f"P/d{number}", "0.3", new=True)
        campaign = api.create_campaign(name="c", firmware_id=1, query="name:d0", draft=True)

    def fail(session):
        for each in session.scalars(select(Assignment).where(Assignment.current)):
            each.state, each.failure_code, each.failure_msg = "failed", -5, "no\nroom"
            each.next_push_at = None
        session.flush()

    with pytest.raises(ZeroDivisionError), cloud.database.writing() as session:
        fail(session)
        1 / 0  # noqa: B018
    assert messages(cloud) == []  # what is not committed is not told
    with cloud.database.writing() as session:
        fail(session)
    with cloud.database.writing() as session:  # not a change
        for each in session.scalars(select(Assignment).where(Assignment.current)):
            each.state, each.percent = "failed", 1
    with cloud.database.writing() as session:
        session.get(Campaign, campaign["id"]).state = "stopped"
    with Client(cloud.api_url) as api:
        api.cancel_campaign(campaign["id"])
    told = [verify(*receiver.wait(number)[:2]) for number in (1, 2, 3)]
    assert [each["type"] for each in told] == [
        "devices.failed",
        "campaign.stopped",
        "campaign.cancelled",
    ]
    data = told[0]["data"]
    assert data["count"] == 3 and {"device": "P/d1", "version": "0.3", "code": -5,
                                   "reason": "no\nroom"} in data["devices"]  # fmt: skip
    assert told[1]["data"]["id"] == campaign["id"]
    wait_until(lambda: messages(cloud) == [], "their removal")
    assert len(receiver.got) == 3


def test_a_failure_is_repeated_in_order_and_given_up(cloud, receiver, monkeypatch):
    def now():
        with cloud.database.writing() as session:
            session.execute(
                update(WebhookMessage)
                .where(WebhookMessage.next_at.is_not(None))
                .values(next_at=WebhookMessage.at)
            )

    def note():
        with cloud.database.writing() as session:
            outbox.note(session, cloud._webhooks, outbox.DISK_LOW, {})

    receiver.code = 302  # leads elsewhere, and is not followed
    with Client(cloud.api_url):
        note()
        first = wait_until(lambda: (m := messages(cloud)) and m[0].tries == 1 and m[0], "a try")
        assert first.error == "HTTP 302" and first.next_at > time.time() + sender.FIRST_S / 2
        note()  # waits behind it
        receiver.code = 500
        monkeypatch.setattr(sender, "TRIES_MOST", 2)
        now()
        wait_until(lambda: messages(cloud)[0].next_at is None, "the end")
        now()
        wait_until(lambda: messages(cloud)[1].tries > 0, "the second")
        assert {path for _, _, path in receiver.got} == {"/a-secret-path"}
        shown = CliRunner(env={"IVOTA_URL": cloud.api_url, "COLUMNS": "200"})
        said = shown.invoke(app.app, ["webhook", "list"]).output
        assert "undeliverable" in said and "HTTP 500" in said and "a-secret-path" not in said
        assert len(json.loads(shown.invoke(app.app, ["webhook", "list", "--json"]).stdout)) == 2
        receiver.code = 204
        count, ids = len(receiver.got), [each.id for each in messages(cloud)]
        assert shown.invoke(app.app, ["webhook", "retry"]).output in (
            "messages to resend: 1\n",
            "messages to resend: 2\n",
        )
        now()
        wait_until(lambda: messages(cloud) == [], "delivery")
        sent = [
            int(headers["webhook-id"].partition("_")[2]) for headers, _, _ in receiver.got[count:]
        ]
        assert sorted(sent) == ids


def test_a_test_is_sent_at_once_and_says_what_came_of_it(tmp_path, cloud, receiver, monkeypatch):
    """By command and from the page; it waits for no message, and no answer holds it up."""
    monkeypatch.setattr(sender, "FIRST_S", 3600.0)  # what has failed waits until it is told
    shown = CliRunner(env={"IVOTA_URL": cloud.api_url, "COLUMNS": "200"})
    receiver.code = 500
    with cloud.database.writing() as session:
        outbox.note(session, cloud._webhooks, outbox.DISK_LOW, {})
    wait_until(lambda: (m := messages(cloud)) and m[0].tries, "a message that waits")
    said = shown.invoke(app.app, ["webhook", "test"])
    assert said.exit_code == 1 and "HTTP 500" in said.output
    receiver.code = 200
    said = shown.invoke(app.app, ["webhook", "test", "--json"])
    assert said.exit_code == 0
    assert json.loads(said.stdout) == [{"host": "127.0.0.1", "problem": None}]
    told = verify(*receiver.got[-1][:2])
    assert told["type"] == "test" and told["data"] == {"by": "local"}
    assert [each.event for each in messages(cloud)] == [outbox.DISK_LOW]
    receiver.drips = True
    with monkeypatch.context() as soon:
        soon.setattr(delivery, "TIMEOUT_S", 0.5)
        assert "no answer within" in shown.invoke(app.app, ["webhook", "test"]).output
    receiver.drips = False
    let_in(cloud, "admin")
    with Visitor(cloud.api_url, "admin") as visitor:
        text = visitor.get("/webhooks")
        assert "HTTP 500" in text and "next attempt" in text and "Resend all" not in text
        assert "a-secret-path" not in visitor.page.text
        assert "127.0.0.1: delivered" in visitor.post("/webhooks/test")
        with cloud.database.writing() as session:
            session.execute(update(WebhookMessage).values(next_at=None))
            gone = Webhooks.of(("https://gone.example/",), SECRET)
            outbox.note(session, gone, outbox.TEST, {})
        number = messages(cloud)[0].id
        assert "no longer configured" in visitor.get("/webhooks")
        assert visitor.page.text.count('/retry"') == 2  # of all, and of the one that can be
        visitor.post(f"/webhooks/{number}/retry")
        wait_until(lambda: number not in [each.id for each in messages(cloud)], "delivery")


def test_only_an_admin_sends_a_test(tmp_path, cloud):
    with Client(cloud.api_url) as api:
        admin = api.create_token("admin", "admin")["token"]
    with Client(cloud.api_url, admin) as api:
        operator = api.create_token("operator", "operator")["token"]
    with Client(cloud.api_url, operator) as api:
        assert api.webhook_messages() == []
        for action in (api.send_webhook_test, api.retry_webhooks):
            with pytest.raises(ApiError, match="needs admin"):
                action()
    with Cloud(tmp_path / "none") as none, Client(none.api_url) as api:
        with pytest.raises(ApiError, match="start it with --webhook"):
            api.send_webhook_test()


def test_disk_and_certificate_are_told_once_a_day(tmp_path, monkeypatch):
    with Cloud(tmp_path) as cloud:
        webhooks = Webhooks.of(("https://hooks.example/",), SECRET)
        made = sender.WebhookSender(
            cloud.database, webhooks, tmp_path, lambda: time.time() + 86400
        )
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 950, 50))
        made.check()
        made.check()
        assert [each.event for each in messages(cloud)] == [
            outbox.DISK_LOW,
            outbox.CERTIFICATE_EXPIRES,
        ]
        with cloud.database.writing() as session:
            session.get(Setting, f"webhook {outbox.DISK_LOW}").value = "1"
        made.check()
        assert [each.event for each in messages(cloud)][2:] == [outbox.DISK_LOW]
        with cloud.database.writing() as session:  # bounded, whatever happens
            for _ in range(outbox.WAITING_MOST + 5):
                outbox.note(session, webhooks, outbox.TEST, {})
        assert len(messages(cloud)) == outbox.WAITING_MOST


@pytest.mark.parametrize(
    ("urls", "secret", "why"),
    [
        (("ftp://h/x-secret",), SECRET, "http:// or https://"),
        (("https:///x-secret",), SECRET, "http:// or https://"),
        (("https://me:word@h/x-secret",), SECRET, "without a user"),
        (("https://h/x-secret",), None, "webhook-secret-file"),
        (("https://h/x-secret",), "short", "at least 16"),
        (("https://h/x-secret", "https://h/x-secret"), SECRET, "twice"),
    ],
)
def test_urls_that_cannot_be_are_refused_without_showing_them(tmp_path, urls, secret, why):
    with pytest.raises(CloudError, match=why) as caught:
        Cloud(tmp_path, webhooks=urls, webhook_secret=secret)
    assert "x-secret" not in str(caught.value) and "word" not in str(caught.value)
