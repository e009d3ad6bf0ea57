"""One bad client, and everybody else is served: connections, bodies, streams, revocations."""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import threading
import time
import tracemalloc
from pathlib import Path

import httpx
import postgres_support
import pytest
from cloud_support import Device
from pages_support import PASSWORD, Visitor, let_in
from sqlalchemy import func, insert, select, update
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError, connection_limit
from ivota_tools.cloud.accounts import audit_log, sign_in_throttle, users
from ivota_tools.cloud.accounts.token_guess_delay import WrongTries
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.api import events
from ivota_tools.cloud.connection_limit import Room, Table
from ivota_tools.cloud.http_deadlines import Deadlines
from ivota_tools.cloud.network_addresses import Networks, network
from ivota_tools.cloud.rollout.assignment import assign
from ivota_tools.cloud.rollout.assignment_states import reject
from ivota_tools.cloud.sse_response import Places
from ivota_tools.cloud.store import models, retention, store_ownership
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.file_store import FolderStore
from ivota_tools.cloud.store.models import Audit, Firmware
from ivota_tools.firmware import release

TOKEN = "ivota_0123456789abcdefghijklmnopqrstuv"
SHORT = Deadlines(head_s=0.5, body_s=0.5, piece_s=0.5, stalled_s=0.5)
FEW = Room(http=16, mqtt=16)


def link(cloud):
    return socket.create_connection(("127.0.0.1", cloud.http_port), timeout=WAIT_S)


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


def test_devices_may_use_half_of_the_memory_or_what_the_operator_says(monkeypatch):
    pages = {"SC_PHYS_PAGES": 1 << 20, "SC_PAGE_SIZE": 4096}  # 4 GiB
    monkeypatch.setattr(connection_limit.os, "sysconf", pages.__getitem__)
    for descriptors, said, most in (
        (1 << 22, None, 32_768), (1 << 22, 200_000, 200_000), (1 << 22, 20, 20),
    ):  # fmt: skip
        limit = descriptors, descriptors
        monkeypatch.setattr(connection_limit.resource, "getrlimit", lambda _, it=limit: it)
        assert connection_limit.room(said).mqtt == most
    monkeypatch.setattr(connection_limit.resource, "getrlimit", lambda _: (5000, 5000))
    assert connection_limit.room(10**6).mqtt < 2500  # each takes two descriptors


def test_silent_connections_give_way(tmp_path):
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        for _ in range(3 * FEW.http):
            sock = stack.enter_context(link(cloud))
            sock.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: 127")
        assert Client(cloud.api_url).health()["ok"]
        assert len(cloud._server.table) <= FEW.http


def test_a_connection_that_asks_nothing_gives_way_and_a_head_in_two_parts_is_one(tmp_path):
    whole = head("/api/v1/health", method="GET")
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(link(cloud)) for _ in range(FEW.http)]
        for sock in socks:
            sock.sendall(whole[:20])
        with Client(cloud.api_url) as api:  # after what came before it
            assert api.health()["ok"]
        left = socks[FEW.http // 2 :]
        for sock in left:
            sock.sendall(whole[20:])
            assert status(sock.recv(4096)) == 200
        assert Client(cloud.api_url).health()["ok"]


def test_event_streams_have_places_and_one_name_has_half_of_them():
    places = Places(4)
    assert [places.take("one") for _ in range(3)] == [True, True, False]
    assert [places.take(name) for name in ("two", "three", "four")] == [True, True, False]
    places.give("one")
    assert places.take("one") and not places.take("one")
    assert Places(1).take("one") and not Places(0).take("one")


def test_half_a_body_gives_way_too(tmp_path):
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        for _ in range(3 * FEW.http):
            sock = stack.enter_context(link(cloud))
            sock.sendall(head("/sign-in", "Content-Length: 1000") + b"name=")
        assert Client(cloud.api_url).health()["ok"]


def test_delayed_answers_give_way(tmp_path):
    """To a stranger's wrong tokens; nobody else needs one to ask whether the cloud is alive."""
    with Cloud(tmp_path, room=FEW, token=TOKEN) as cloud, contextlib.ExitStack() as stack:
        for _ in range(20):  # are answered at once
            httpx.get(f"{cloud.api_url}/api/v1/nothing", headers={"Authorization": "Bearer x"})
        for _ in range(3 * FEW.http):
            sock = stack.enter_context(link(cloud))
            sock.sendall(head("/api/v1/devices", "Authorization: Bearer wrong", method="GET"))
        assert httpx.get(f"{cloud.api_url}/healthz", timeout=20).status_code == 200


def test_unread_answers_to_strangers_give_way(tmp_path):
    asked = head("/files/1?expires=1&sign=0", method="GET")
    never = Deadlines(*[3600.0] * 4)  # nothing else makes room

    def has_room():
        try:
            return httpx.get(f"{cloud.api_url}/healthz", timeout=WAIT_S).status_code == 200
        except httpx.TransportError:
            return False

    with Cloud(tmp_path, room=FEW, deadlines=never) as cloud, contextlib.ExitStack() as stack:
        for _ in range(FEW.http):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # few answers fill it
            sock.connect(("127.0.0.1", cloud.http_port))
            sock.settimeout(1)
            with contextlib.suppress(TimeoutError):  # until it takes no more requests
                while True:
                    sock.sendall(100 * asked)
        # On a busy machine, some of them are still served.
        wait_until(has_room, "room for another connection")


def test_a_head_a_body_and_an_answer_have_deadlines(tmp_path):
    (tmp_path / "f.bin").write_bytes(bytes(20_000_000))
    with Cloud(tmp_path / "c", deadlines=SHORT) as cloud, Client(cloud.api_url) as api:
        made = api.upload(tmp_path / "f.bin", "0.2")["firmware"]
        with cloud.database.reading() as session:
            url = httpx.URL(cloud._url_of(session.get_one(Firmware, made["id"]), 999).url)
        with link(cloud) as half, link(cloud) as slow, link(cloud) as deaf:
            half.sendall(b"GET /api/v1/health HTTP/1.1\r\n")
            slow.sendall(head("/api/v1/push", "Content-Length: 100") + b'{"device"')
            deaf.sendall(head(url.raw_path.decode(), method="GET"))
            wait_until(lambda: cloud._server.table.serving == 1, "a place for the download")
            assert half.recv(100) == b""
            assert status(slow.recv(4096)) == 408
            # It reads nothing, and it is cut all the same.
            wait_until(lambda: cloud._server.table.serving == 0, "the end of the deaf reader")


def test_streams_of_events_are_bounded(tmp_path):
    with Cloud(tmp_path, room=FEW) as cloud, contextlib.ExitStack() as stack:
        http = stack.enter_context(httpx.Client(base_url=cloud.api_url, timeout=WAIT_S))
        codes = [
            stack.enter_context(http.stream("GET", "/api/v1/events")).status_code
            for _ in range(FEW.http // 2)
        ]
        assert codes[0] == 200 and codes[-1] == 503
        assert http.get("/api/v1/devices").status_code == 200


def test_a_removed_token_ends_its_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "CHECK_S", 1e9)  # not by looking from time to time
    with Cloud(tmp_path, token=TOKEN) as cloud, Client(cloud.api_url, TOKEN) as api:
        made = api.create_token("watcher", "admin")
        over = threading.Event()
        first = threading.Event()

        def watch():
            headers = {"Authorization": f"Bearer {made['token']}"}
            with httpx.stream(
                "GET", f"{cloud.api_url}/api/v1/events", headers=headers, timeout=WAIT_S
            ) as answer:
                for _ in answer.iter_bytes():
                    first.set()
            over.set()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        assert first.wait(WAIT_S)
        api.remove_token(made["id"])
        assert over.wait(WAIT_S)
        thread.join()


def test_answers_of_the_api_are_kept_nowhere(closed):
    for path, code in (("/api/v1/devices", 401), ("/api/v1/openapi.json", 200)):
        answer = httpx.get(closed.api_url + path, timeout=WAIT_S)
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
        ready = lambda: httpx.get(f"{cloud.api_url}/readyz", timeout=WAIT_S)  # noqa: E731
        assert ready().json() == {"ok": True, "problem": None, "standby": False, "store": None}
        with contextlib.closing(sqlite3.connect(tmp_path / "ivota.db")) as other:
            other.isolation_level = None
            other.execute("BEGIN IMMEDIATE")
            wait_until(lambda: ready().status_code == 503, "the refusal")
            assert "database" in ready().json()["problem"]
            assert httpx.get(f"{cloud.api_url}/healthz", timeout=WAIT_S).status_code == 200
            assert not api.health()["ok"] and "database" in api.health()["problem"]
            with Device(cloud.mqtt_port, "P", "d") as device:
                for number in range(50):
                    device.report_version(f"0.{number}")
            wait_until(lambda: cloud._worker.intake.problem, "the worker's own word")
            other.execute("ROLLBACK")
        wait_until(lambda: ready().status_code == 200, "the end of it")
        wait_until(api.devices, "the first report")
        wait_until(lambda: len(api.reports(api.device("P/d")["id"])) == 50, "all reports")
    assert not [line for line in caplog.records if line.exc_info]


def test_health_is_of_the_broker_too(tmp_path):
    with Cloud(tmp_path / "broker") as broker:
        where = f"127.0.0.1:{broker.mqtt_port}"
        with Cloud(tmp_path / "c", broker=where) as cloud:
            assert httpx.get(f"{cloud.api_url}/readyz", timeout=WAIT_S).status_code == 200
            broker.stop()
            wait_until(
                lambda: httpx.get(f"{cloud.api_url}/readyz", timeout=WAIT_S).status_code == 503,
                "a word",
            )
            assert (
                "broker" in httpx.get(f"{cloud.api_url}/readyz", timeout=WAIT_S).json()["problem"]
            )


# -- the console's sign-in --------------------------------------------------------------------


def refuse(cloud, *, name, address, times):
    with cloud.database.writing() as session:
        for _ in range(times):
            sign_in_throttle.refused(session, name, address, time.time())


def test_nobody_is_kept_out_of_their_own_browser(tmp_path):
    """Wrong passwords from many addresses, and from this very one."""
    with Cloud(tmp_path) as cloud:
        let_in(cloud, "admin")
        with Visitor(cloud.api_url, "admin") as own, Visitor(cloud.api_url) as other:
            own.get("/account")
            own.send("/sign-out")
            for number in range(25):
                refuse(cloud, name="admin", address=f"10.0.0.{number}", times=5)
            refuse(cloud, name="admin", address="127.0.0.1", times=50)
            other.sign_in("admin", status=429)
            own.sign_in("admin")
            assert "Sign out" in own.get("/account")
            # It has only so many tries of its own.
            own.send("/sign-out")
            for _ in range(sign_in_throttle.KNOWN_MOST):
                own.sign_in("admin", "a wrong password", status=401)
            own.sign_in("admin", status=429)


def test_refused_sign_ins_leave_a_trace(tmp_path):
    with Cloud(tmp_path) as cloud:
        let_in(cloud, "admin")
        with Visitor(cloud.api_url) as visitor:
            visitor.sign_in("admin", "a wrong password", status=401)
            visitor.sign_in("admin", "a wrong password", status=401)
        Client(cloud.api_url, "wrong")._http.get("devices")
        with cloud.database.reading() as session:
            found = session.scalars(select(Audit).where(Audit.who == "engine")).all()
        assert [(each.action, each.subject) for each in found] == [
            ("sign-in refused", "127.0.0.1"), ("token refused", "127.0.0.1")]  # fmt: skip


def test_hashing_holds_up_nobody_else(tmp_path, monkeypatch):
    begun, go_on = threading.Semaphore(0), threading.Event()

    class Slow:
        def verify(self, _hash, password):
            if password != PASSWORD:
                begun.release()
                assert go_on.wait(WAIT_S)
            return True

    with Cloud(tmp_path) as cloud:
        let_in(cloud, "admin")
        own = Visitor(cloud.api_url, "admin")
        own.get("/account")
        own.send("/sign-out")
        visitors = [Visitor(cloud.api_url) for _ in range(60)]
        for visitor in visitors:
            visitor.get("/sign-in")
        monkeypatch.setattr(users, "_HASHER", Slow())
        codes = []

        def sign_in(visitor):
            form = {"name": "admin", "password": "x", "csrf": visitor.csrf}
            codes.append(visitor.http.post("/sign-in", data=form).status_code)

        threads = [threading.Thread(target=sign_in, args=(each,)) for each in visitors]
        for thread in threads:
            thread.start()
        assert begun.acquire(timeout=WAIT_S)
        wait_until(lambda: 503 in codes, "the end of the room")
        # However many wait, the rest of the console does not, nor who has signed in before.
        assert own.sign_in("admin")
        assert httpx.get(f"{cloud.api_url}/healthz", timeout=WAIT_S).status_code == 200
        assert httpx.get(f"{cloud.api_url}/sign-in", timeout=WAIT_S).status_code == 200
        go_on.set()
        for thread in threads:
            thread.join()
        for visitor in (own, *visitors):
            visitor.http.close()
        assert set(codes) <= {200, 429, 503}


def test_a_trusted_proxy_names_the_sender(tmp_path):
    """Who is behind one counts alone; what anybody else says of themselves is not believed."""
    table = Table(4, Networks(["10.1.0.0/16"]))
    for _ in range(4):
        table.enter("10.1.2.3", lambda: None).serve()
    assert len(table) == 4
    with pytest.raises(CloudError, match="--trusted-proxy"):
        Cloud(tmp_path, trusted_proxies=["proxy.example"])
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("::ffff:10.0.0.1") == "10.0.0.1"


# -- the clock, what is kept, and what belongs together ----------------------------------------


def test_a_clock_that_was_set_back_delays_nothing(tmp_path):
    """Everything was dated two days ahead."""
    now, ahead = time.time(), time.time() + 2 * 86400
    with Cloud(tmp_path) as cloud:
        let_in(cloud, "admin")
        with cloud.database.writing() as session:
            for number in range(200):
                sign_in_throttle.refused(session, "admin", f"10.0.0.{number % 9}", ahead)
            assert sign_in_throttle.wait_s(session, "admin", "10.0.0.1", now) == 0
            firmware = Firmware(version="0.2", kind="raw", size=1, md5="m", sha256="s",
                                uploaded_at=now)  # fmt: skip
            device = models.Device(product_id="P", device_name="d", version="0.1")
            session.add_all([firmware, device])
            session.flush()
            attempt = assign(session, device, firmware, now, None)
            attempt.state, attempt.next_push_at = "retry", ahead
            attempt.started_at = attempt.updated_at = ahead
            number = attempt.id
    with Cloud(tmp_path) as cloud:

        def healed():
            with cloud.database.reading() as session:
                found = session.get_one(models.Assignment, number)
                return found.next_push_at < time.time() + 3700 and found.updated_at < ahead

        wait_until(healed, "the repair")


def test_wrong_tries_go_by_a_clock_that_nobody_sets():
    now, notes = [0.0], []
    tries = WrongTries("x", lambda *note: notes.append(note), lambda: now[0])
    for number in range(1000):
        tries.wrong(f"2001:db8::{number:x}")  # one network
    assert tries.wait_s("2001:db8::1") and not tries.wait_s("2001:db8:1::1")
    assert len(notes) == 1
    now[0] = 600.0
    assert not tries.wait_s("2001:db8::1")
    tries.wrong("2001:db8::1")
    assert notes[-1] == ("2001:db8::/64", 1000)


def test_every_table_that_grows_is_pruned(tmp_path, monkeypatch):
    with Cloud(tmp_path) as cloud, Device(cloud.mqtt_port, "P", "d") as device:
        device.hello("0.1")
        device.hello("0.2")
        with cloud.database.writing() as session:
            audit_log.note(session, "x", "y", "z")
            for table in (models.Report, models.Change, models.Audit):
                session.execute(update(table).values(at=5.0))
            found = session.scalars(select(models.Device)).one()
            firmware = Firmware(version="9", kind="raw", size=1, md5="m", sha256="s",
                                uploaded_at=0.0)  # fmt: skip
            session.add(firmware)
            session.flush()
            for _ in range(8):
                reject(assign(session, found, firmware, 5.0, None), 5.0, "not for it")
            monkeypatch.setattr(retention, "ATTEMPTS_MOST", 3)
            forgetting, steps = retention.Forgetting(), 1
            while forgetting.step(session, retention.Keep(10, 10), 100.0):
                steps += 1
            assert steps == 3  # of eight attempts, three at a time
            for table, left in (
                (models.Report, 0), (models.Change, 0), (models.Failure, 1),
                (models.Assignment, 1), (models.Audit, 0),
            ):  # fmt: skip
                assert session.scalar(select(func.count()).select_from(table)) == left, table


def test_every_table_has_a_rule_that_operators_can_read(tmp_path):
    """In docs/operate.md; what is over goes whatever the options say, and nothing else does."""
    assert set(retention.RULES) == {each.class_ for each in models.Base.registry.mappers}
    page = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
    shown = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.M)
    assert {(rule.what, rule.until) for rule in retention.RULES.values()} <= set(shown)
    now, database = 1e9, Database(tmp_path / "d.db")
    ages = {models.Refusal: 900, models.WebhookMessage: 90 * 86400, models.SignIn: 14 * 86400}
    with database.writing() as session:
        session.add(models.User(id=1, name="u", role="admin", password="", created_at=0.0))
        session.flush()
        for number, at in enumerate(now - age + each for age in ages.values() for each in (-1, 9)):
            word = str(number)
            session.add_all([
                models.Refusal(at=at, name_sha256="", address=""),
                models.WebhookMessage(at=at, target="gone", host="", event="", body="",
                                      next_at=at),
                models.SignIn(user_id=1, sha256=word, created_at=at, seen_at=now, address="",
                              browser=""),
            ])  # fmt: skip
        while retention.Forgetting().step(session, retention.Keep(), now):
            pass
        for table, age in ages.items():
            at = table.created_at if table is models.SignIn else table.at
            assert session.scalar(select(func.min(at))) == now - age + 9, table
    database.close()


def test_rows_of_a_clock_that_was_ahead_are_not_in_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "ROWS_MOST", 10)
    database = Database(tmp_path / "d.db")
    dates = 25 * [9e9] + [5.0, 6.0, 9e9] + 12 * [7.0] + 30 * [95.0]
    with database.writing() as session:
        session.execute(insert(models.Audit), [
            {"at": at, "who": "x", "action": "y", "subject": "z", "detail": ""} for at in dates
        ])  # fmt: skip
        for _ in range(5):
            retention.Forgetting().step(session, retention.Keep(audit_s=10), 100.0)
        left = session.scalars(select(models.Audit.at).order_by(models.Audit.id)).all()
        assert left == [at for at in dates if at >= 90.0]
    database.close()


def test_a_database_belongs_to_one_data_folder(tmp_path):
    url = postgres_support.new_database()
    (tmp_path / "f").write_bytes(b"x")
    with Cloud(tmp_path / "broker") as broker:
        options = {"database": url, "broker": f"127.0.0.1:{broker.mqtt_port}"}
        with Cloud(tmp_path / "one", **options) as cloud, Client(cloud.api_url) as api:
            api.upload(tmp_path / "f", "0.2")
            with pytest.raises(CloudError, match="another data directory"):
                Cloud(tmp_path / "two", **options).start()
        # Moved elsewhere with its files, it is the same.
        (tmp_path / "one").rename(tmp_path / "three")
        with Cloud(tmp_path / "three", **options):
            pass


def test_a_process_waits_for_the_one_that_claims_the_database(tmp_path, monkeypatch):
    monkeypatch.setattr(store_ownership, "NOTE_S", 120.0)
    database = Database(postgres_support.new_database())
    store = FolderStore(tmp_path)
    assert store_ownership._is_new(database)  # the other process has come this far
    known = database.setting(store_ownership.SETTING, lambda: "the other's")
    other = threading.Timer(0.5, store.keep_note, (store_ownership.NAME, known))
    other.start()
    store_ownership.expect_own(database, store)
    other.join()
    assert store.note(store_ownership.NAME) == known
    database.close()


@pytest.mark.parametrize("token", ["1234", "a" * 64, "secretsecretsecretsecret", "0" * 32])
def test_a_token_that_can_be_guessed_is_refused(tmp_path, token):
    with pytest.raises(CloudError, match="too weak"):
        Cloud(tmp_path, token=token)


def test_a_token_is_called_as_no_user_is(tmp_path):
    with Cloud(tmp_path) as cloud, Client(cloud.api_url) as api:
        api.create_user("anna", "correct horse battery", "admin")
        with Client(cloud.api_url, local_token(tmp_path)) as api:
            for name in ("anna", "Anna", "owner", "engine"):
                with pytest.raises(ApiError, match="choose another"):
                    api.create_token(name, "admin")
            api.create_token("bert", "admin")
            with pytest.raises(ApiError, match="a token .* already exists"):
                api.create_user("bert", "correct horse battery", "viewer")


@pytest.mark.parametrize("path", ["/api/v1/firmware?version=1", "/sign-in"])
def test_an_upload_that_breaks_off_is_no_traceback(closed, caplog, path):
    lines = "Content-Length: 100000", f"Authorization: Bearer {TOKEN}"
    with link(closed) as sock:
        sock.sendall(head(path, *lines) + bytes(1000))
        wait_until(lambda: len(closed._server.table), "the request")
        time.sleep(0.2)
    wait_until(lambda: not list((closed.folder / "firmware").glob("upload-*")), "its end")
    wait_until(lambda: not len(closed._server.table), "the end of the connection")
    assert not [line for line in caplog.records if line.exc_info]


def test_a_large_file_is_looked_into_in_little_memory(tmp_path):
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    try:
        assert release.inspect(tmp_path / "large.bin").size == 200 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
