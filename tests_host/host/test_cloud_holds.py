"""One bad client, and everybody else is served: connections, bodies, streams, revocations."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading

import httpx
import pytest
from cloud_support import Device
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.api import routes
from ivota_tools.cloud.connections import Room, Table
from ivota_tools.cloud.http_protocol import Deadlines
from ivota_tools.cloud.store.models import Firmware

TOKEN = "ivota_0123456789abcdefghijklmnopqrstuv"
SHORT = Deadlines(head_s=0.5, body_s=0.5, piece_s=0.5, stalled_s=0.5)
FEW = Room(http=16, mqtt=16)


def link(cloud):
    return socket.create_connection(("127.0.0.1", cloud.http_port), timeout=20)


def status(data: bytes) -> int:
    return int(data.split()[1]) if data else 0


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A cloud that answers nothing without a token."""
    with Cloud(tmp_path_factory.mktemp("closed"), token=TOKEN) as running:
        yield running


@pytest.mark.parametrize("path", ["/api/v1/push", "/api/v1/firmware", "/api/v1/nothing"])
def test_the_caller_is_known_before_the_body(closed, path):
    with link(closed) as sock:
        sock.sendall(head(path, "Content-Length: 67108864", "Content-Type: application/json"))
        assert status(sock.recv(4096)) == 401  # and not a byte of it was sent


@pytest.mark.parametrize("path", ["/api/v1/push", "/api/v1/campaigns", "/sign-in"])
def test_a_body_is_bounded_while_it_comes(closed, path):
    lines = "Transfer-Encoding: chunked", "Content-Type: application/json"
    with link(closed) as sock:
        sock.sendall(head(path, *lines, f"Authorization: Bearer {TOKEN}"))
        with contextlib.suppress(OSError):
            for _ in range(20):
                sock.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert status(sock.recv(4096)) == 413  # the body has no end yet


def test_an_announced_body_is_refused_at_once(closed):
    with link(closed) as sock:
        sock.sendall(
            head("/api/v1/push", "Content-Length: 70000", f"Authorization: Bearer {TOKEN}")
        )
        assert status(sock.recv(4096)) == 413


def test_silent_connections_give_way(tmp_path):
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        for _ in range(3 * FEW.http):
            sock = stack.enter_context(link(cloud))
            sock.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: 127")
        assert Client(cloud.api_url).health()["ok"]
        assert len(cloud._server.table) <= FEW.http


def test_a_head_a_body_and_an_answer_have_deadlines(tmp_path):
    (tmp_path / "f.bin").write_bytes(bytes(20_000_000))
    with Cloud(tmp_path / "c", deadlines=SHORT) as cloud, Client(cloud.api_url) as api:
        made = api.upload(tmp_path / "f.bin", "0.2")["firmware"]
        with cloud.database.reading() as session:
            url = httpx.URL(cloud._url_of(session.get_one(Firmware, made["id"])))
        with link(cloud) as half, link(cloud) as slow, link(cloud) as deaf:
            half.sendall(b"GET /api/v1/health HTTP/1.1\r\n")
            slow.sendall(head("/api/v1/push", "Content-Length: 100") + b'{"device"')
            deaf.sendall(head(url.raw_path.decode(), method="GET"))
            assert half.recv(100) == b""
            assert status(slow.recv(4096)) == 408
            # It reads nothing, and it is cut all the same.
            wait_until(lambda: cloud._server.table.serving == 0, "the end of the deaf reader")


def test_streams_of_events_are_bounded(tmp_path):
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        http = stack.enter_context(httpx.Client(base_url=cloud.api_url, timeout=20))
        codes = [
            stack.enter_context(http.stream("GET", "/api/v1/events")).status_code
            for _ in range(FEW.http // 2)
        ]
        assert codes[0] == 200 and codes[-1] == 503
        assert http.get("/api/v1/devices").status_code == 200


def test_a_removed_token_ends_its_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(routes, "CHECK_S", 1e9)  # not by looking from time to time
    with Cloud(tmp_path, token=TOKEN) as cloud, Client(cloud.api_url, TOKEN) as api:
        made = api.create_token("watcher", "admin")
        over = threading.Event()
        first = threading.Event()

        def watch():
            headers = {"Authorization": f"Bearer {made['token']}"}
            with httpx.stream(
                "GET", f"{cloud.api_url}/api/v1/events", headers=headers, timeout=60
            ) as answer:
                for _ in answer.iter_bytes():
                    first.set()
            over.set()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        assert first.wait(20)
        api.remove_token(made["id"])
        assert over.wait(20)
        thread.join()


def test_answers_of_the_api_are_kept_nowhere(closed):
    for path, code in (("/api/v1/devices", 401), ("/api/v1/openapi.json", 200)):
        answer = httpx.get(closed.api_url + path)
        assert answer.status_code == code
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_one_address_has_half_and_this_machine_all():
    table, cut = Table(4), []
    served = [table.enter("2001:db8::1", lambda: None) for _ in range(2)]
    for each in served:
        each.serve()
    # The same network of 64 bits, all of whose connections are being served.
    assert table.enter("2001:db8::ffff", lambda: None) is None
    assert table.enter("2001:db8:0:1::1", lambda: cut.append("other"))
    assert table.enter("127.0.0.1", lambda: cut.append("here"))
    assert table.enter("127.0.0.1", lambda: None)
    assert cut == ["other"]  # who has waited longest
    assert len(table) == 4


def test_health_is_of_what_is_stored(tmp_path, caplog):
    """The database is locked: links are there, and nothing is stored until it is free."""
    with Cloud(tmp_path, token=TOKEN) as cloud, Client(cloud.api_url, TOKEN) as api:
        ready = lambda: httpx.get(f"{cloud.api_url}/readyz", timeout=60)  # noqa: E731
        assert ready().json() == {"ok": True, "problem": None, "standby": False}
        with contextlib.closing(sqlite3.connect(tmp_path / "ivota.db")) as other:
            other.isolation_level = None
            other.execute("BEGIN IMMEDIATE")
            wait_until(lambda: ready().status_code == 503, "the refusal")
            assert "database" in ready().json()["problem"]
            assert httpx.get(f"{cloud.api_url}/healthz").status_code == 200
            assert not api.health()["ok"] and "database" in api.health()["problem"]
            with Device(cloud.mqtt_port, "P", "d") as device:
                for number in range(50):
                    device.report_version(f"0.{number}")
            wait_until(lambda: cloud._intake.problem, "the worker's own word")
            other.execute("ROLLBACK")
        wait_until(lambda: ready().status_code == 200, "the end of it")
        wait_until(lambda: len(api.reports(api.device("P/d")["id"])) == 50, "all reports")
    assert not [line for line in caplog.records if line.exc_info]


def test_health_is_of_the_broker_too(tmp_path):
    with Cloud(tmp_path / "broker") as broker:
        where = f"127.0.0.1:{broker.mqtt_port}"
        with Cloud(tmp_path / "c", broker=where) as cloud:
            assert httpx.get(f"{cloud.api_url}/readyz").status_code == 200
            broker.stop()
            wait_until(lambda: httpx.get(f"{cloud.api_url}/readyz").status_code == 503, "a word")
            assert "broker" in httpx.get(f"{cloud.api_url}/readyz").json()["problem"]
