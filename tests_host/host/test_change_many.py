"""Actions on all devices that match a query: by the API, the commands and the pages."""

import json
from urllib.parse import urlencode

import pytest
import typer
from operator_support import Console

from ivota_tools import api_client
from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.accounts.users import UserError
from ivota_tools.cloud.pages import selected_devices
from ivota_tools.cloud.pages.packed_ids import packed, unpacked
from ivota_tools.cloud.pages.page_guard import FORM_MOST
from ivota_tools.cloud.store import models
from ivota_tools.cloud.store.device_acceptance import PENDING_MOST

OLD = "version<0.3"
MANY = "devices that match a query"


@pytest.fixture
def console(tmp_path, monkeypatch):
    """A cloud that is asked in parts of two devices."""
    monkeypatch.setattr("ivota_tools.cli.bulk_actions.BULK_MOST", 2)
    monkeypatch.setattr(api_client, "BULK_MOST", 2)
    with Cloud(tmp_path / "c", back_off=BackOff(3600, 3600)) as cloud:
        made = Console(cloud)
        made.add(["a", "b", "c", "d", "e"], status="accepted")
        made.add(["new"], version="0.3", status="accepted")
        made.add(["waits"], status="pending")
        yield made
        made.close()


def entries(console, after):
    """What the audit log has since."""
    return [(each["action"], each["subject"], json.loads(each["detail"] or "{}"))
            for each in console.api.audit()[after:]]  # fmt: skip


def names(console, **wanted):
    """The devices that have these properties."""
    return [each["device_name"] for each in console.api.devices()
            if wanted.items() <= each.items()]  # fmt: skip


def while_asked(console, monkeypatch, happens, *words):
    """What a command says if something happens before its question is answered with yes."""
    asked = []

    def confirm(question, **_):
        asked.append(question)
        happens()
        return True

    with monkeypatch.context() as patched:
        patched.setattr(typer, "confirm", confirm)
        said = console.ivota(*words)
    return asked[0], said


def test_a_query_changes_many_devices(console, monkeypatch):
    """In parts, of which the audit log has one entry; and nothing that nobody was asked about."""
    console.upload("0.2")
    console.api.tag(console.api.device("P/b")["id"], ["beta", "old"])
    for words in (["tag", "--add", "x"], ["device", "set", "--hardware", "x"],
                  ["retire", "--yes"], ["delete", "--yes"], ["push", "0.2", "--yes"],
                  ["retry", "--yes"], ["cancel", "--yes"], ["accept", "--yes"]):  # fmt: skip
        assert "query is empty" in console.ivota(*words, "--where", "", code=1)
        device = ["-d", "a"] if words[0] == "push" else ["a"]
        for wrong in ([], [*device, "--where", "all"]):
            said = console.ivota(*words, *wrong, code=1)
            assert "either a device or --where" in said or "specify devices, or" in said
        assert "--dry-run needs --where" in console.ivota(*words, *device, "--dry-run", code=1)
        assert "no devices match" in console.ivota(*words, "--where", "tag:none")
        assert "no devices match" in console.ivota(*words, "--where", "tag:none", "--dry-run")
        if words[0] not in ("retry", "cancel", "accept"):
            said = console.ivota(*words, "--where", OLD, "--dry-run")
            assert said.startswith(f"5 devices match '{OLD}': P/a, P/b") and "nothing was" in said
    assert "specify tags" in console.ivota("tag", "--where", OLD, code=1)
    before = len(console.api.audit())

    said = console.ivota("tag", "--where", OLD, "--add", "beta", "--remove", "old")
    assert said == f"5 devices match '{OLD}': 5 changed"
    assert console.api.device("P/b")["tags"] == ["beta"] and names(console, tags=[]) == [
        "new", "waits"]  # fmt: skip
    again = json.loads(console.ivota("tag", "--where", OLD, "--add", "beta", "--json"))
    same = {"devices": 5, "reason": "nothing to change"}
    assert again == {"query": OLD, "devices": 5, "changed": 0, "skipped": [same]}
    console.ivota("device", "set", "--where", "tag:beta", "--application", "pump")
    console.ivota("device", "set", "--where", "all", "--forget", "application")
    assert console.api.device("P/c")["application"] is None

    # While the question waits for its answer, one device joins, and another no longer matches.
    retire = "retire", "--where", OLD
    assert "nothing was retired" in console.ivota(*retire, code=1)
    assert "nothing was retired" in console.ivota(*retire, code=1, given="n\n")

    def happens():
        console.add(["late"], status="accepted")
        with console.cloud.database.writing() as session:
            session.get(models.Device, console.api.device("P/e")["id"]).version = "0.3"

    question, said = while_asked(console, monkeypatch, happens, *retire)
    assert question.startswith(f"Retire 5 devices that match '{OLD}'?")
    assert "4 retired; 1 skipped: the device no longer matches" in said
    assert names(console, status="accepted") == ["e", "new", "late"]
    assert "1 deleted" in console.ivota("delete", "--where", "name:new", "--yes")
    assert names(console, device_name="new") == []

    assert entries(console, before) == [
        ("device tag", MANY, {"query": OLD, "add": ["beta"], "remove": ["old"], "devices": 5}),
        ("device properties", MANY, {"query": "tag:beta", "application": "pump", "devices": 5}),
        ("device properties", MANY, {"query": "all", "application": "", "devices": 5}),
        ("device retire", MANY, {"query": OLD, "devices": 4}),
        ("device delete", MANY, {"query": "name:new", "devices": 1}),
    ]
    # A later part can only continue its own action, and no part acts on devices by chance.
    entry, number = console.api.audit()[before]["id"], console.api.device("P/e")["id"]
    order = {"query": "all", "action": "tag", "add": ["x"], "devices": [number], "entry": entry}
    ask = console.api._object
    console.refused("does not belong", ask, "POST", "query/action", json=order)
    console.refused("devices", ask, "POST", "query/action", json=order | {"devices": []})
    order = {"query": "all", "action": "push", "devices": [number]}
    console.refused("firmware_id", ask, "POST", "query/action", json=order)
    assert console.api.device("P/e")["tags"] == ["beta"]


def test_the_page_changes_all_devices_that_match_its_search(console, monkeypatch):
    """As a script of the page asks for it: it lists them, then sends their ids in parts."""
    monkeypatch.setattr(selected_devices, "LISTED", 2)
    console.upload("0.2")
    numbers = {each["device_name"]: each["id"] for each in console.api.devices()}
    for name in ("b", "c", "d", "e"):
        console.api.push(f"P/{name}", "0.2")
    # Part of a name, a state and a version: no query says the same.
    search = {"q": "p/", "state": "on-the-way", "version": "0.1", "sort": "seen"}

    def ask(fields=None, status=200, **asked):
        there = "/devices/matching?" + urlencode({**search, **asked})
        page, csrf = console.page, console.page.get("/") and console.page.csrf
        sent = {"csrf": csrf, "tag": "", **(fields or {})}
        answer = page.http.get(there) if fields is None else page.http.post(there, data=sent)
        assert answer.status_code == status, answer.text
        return answer.json()

    listed = [numbers[name] for name in ("b", "c", "d", "e")]
    first = ask()
    assert first == {"devices": listed[:2], "newest": 1.0}
    assert ask(after=listed[1])["devices"] == listed[2:] and ask(after=listed[3]) == {
        "devices": [], "newest": 0.0}  # fmt: skip
    # Then one joins the search, one leaves it, and the id of one becomes that of a newcomer.
    console.api.push("P/a", "0.2")
    console.api.cancel_device(numbers["c"])
    console.add(["last"], status="accepted")
    newest = console.api.device("P/last")["id"]
    with console.cloud.database.writing() as session:
        session.delete(session.get(models.Device, newest))
    console.add(["newcomer"], status="accepted", first_seen=2.0)
    console.api.push("P/newcomer", "0.2")
    assert console.api.device("P/newcomer")["id"] == newest
    before = len(console.api.audit())

    tag = {"do": "tag", "tag": "x", "newest": first["newest"]}
    part = ask({**tag, "devices": packed(listed[:2])})
    assert part["devices"] == 1 and part["skipped"] == [[1, "the device no longer matches"]]
    rest = {"devices": packed([*listed[2:], newest]), "entry": part["entry"]}
    assert ask({**tag, **rest})["devices"] == 2
    again = ask({**tag, "devices": packed(listed)})
    assert (again["devices"], again["entry"]) == (0, None)
    assert names(console, tags=["x"]) == ["b", "d", "e"]
    words = "p/ state:on-the-way version:0.1"
    assert entries(console, before) == [
        (
            "device tag",
            "devices that match a search",
            {"search": words, "add": ["x"], "devices": 3},
        )
    ]
    waiting = {"do": "push", "firmware": "1", "newest": 9, "devices": packed(numbers.values())}
    assert ask(waiting, q="", state="pending", version="")["skipped"] == [
        [6, "the device no longer matches"], [1, "the device is pending"]]  # fmt: skip
    retire = {"do": "retire", "newest": 9, "devices": packed([newest])}
    for fields in (None, retire):
        assert "compare versions" in ask(fields, 422, q="version<>1")["detail"]
    assert "list of devices" in ask({**retire, "devices": "0"}, 422)["detail"]
    assert ask(retire)["devices"] == 1 and ask(retire, state="retired")["skipped"]


def test_many_ids_fit_into_a_form():
    ids = list(range(7, 2**31 - 1, 2**31 // PENDING_MOST))[:PENDING_MOST]
    text = packed(ids)
    assert len(text) < FORM_MOST - 4096 and unpacked(text, PENDING_MOST) == ids
    assert packed([1, 2, 3, 4, 14]) == "1-3.a" and unpacked("", 1) == []
    for wrong in ("0", "1..2", "1-", "-1", "1.", "A", "1-2", "zzzzzz", "1,2"):
        with pytest.raises(UserError, match="not valid"):
            unpacked(wrong, 2)


def test_a_query_starts_and_ends_updates(console, monkeypatch):
    """Only of devices that the firmware is for, and not again of those on the way to it."""
    chosen = console.upload("0.3", "pump")
    console.upload("0.3", "lamp", b"other")
    push = "push", "0.3", "--application", "pump", "--where", OLD
    for words in (["--wait"], ["--new"], ["--timeout", "1"]):
        assert "cannot be used with --where" in console.ivota(*push, *words, "--yes", code=1)
    assert "(lamp, pump)" in console.ivota("push", "0.3", "--where", OLD, "--yes", code=1)
    assert "does not exist" in console.ivota("push", "9", "--where", OLD, "--yes", code=1)
    console.ivota("device", "set", "a", "--application", "lamp")
    console.ivota("push", "0.3", "-d", "b", "--application", "pump")
    before = len(console.api.audit())

    def attempts(name):
        return len(console.api.attempts(console.api.device(name)["id"]))

    def happens():
        console.add(["late"], status="accepted")

    question, said = while_asked(console, monkeypatch, happens, *push)
    assert question == f"Update 5 devices that match '{OLD}' to 0.3 of pump?"
    assert f"5 devices match '{OLD}': 3 started; 1 skipped: " in said
    assert "for the application pump, but the device runs lamp" in said
    assert "1 skipped: the device is already being updated to 0.3" in said
    assert names(console, target="0.3") == ["b", "c", "d", "e"]
    assert attempts("b") == 1
    # Another time, nothing starts again; and nobody is updated to what it runs.
    again = json.loads(console.ivota(*push[:-1], "name:[b-e]", "--yes", "--json"))
    assert (again["devices"], again["changed"]) == (4, 0)
    assert "already runs 0.3" in console.ivota(*push[:-1], "name:new", "--yes")
    console.ivota(*push[:-1], "name:a", "--include-mismatched", "--yes")

    with console.cloud.database.writing() as session:
        for attempt in session.query(models.Assignment).where(models.Assignment.current):
            if attempt.device.device_name in "bc":
                attempt.state, attempt.failed_at, attempt.failure_code = "failed", 1.0, -4
    said = console.ivota("cancel", "--where", "-name:a", "--yes")
    assert said == "2 devices match '-name:a' and have an unfinished update: 2 cancelled"
    assert "1 device that matches 'all' and has a" in console.ivota("cancel", "--where", "all",
                                                                    code=1)  # fmt: skip
    # Cancelled updates are not retried.
    said = console.ivota("retry", "--where", "all", "--dry-run")
    assert said.startswith("2 devices match 'all' and have a failed update: P/b, P/c;")
    assert "2 retried" in console.ivota("retry", "--where", "all", given="y\n")
    assert [attempts(name) for name in "abcde"] == [1, 2, 2, 1, 1]
    assert "no devices match" in console.ivota("retry", "--where", "all", "--yes")

    said = json.loads(console.ivota("accept", "--where", "name:w*", "--yes", "--json"))
    assert said == {"query": "name:w*", "devices": 1, "changed": 1, "skipped": []}
    assert names(console, status="pending") == []
    of = {"version": "0.3", "firmware_id": chosen["id"]}
    assert entries(console, before) == [
        ("push", MANY, {"query": OLD, **of, "devices": 3}),
        ("push", MANY, {"query": "name:a", **of, "include_mismatched": True, "devices": 1}),
        ("device cancel", MANY, {"query": "-name:a", "devices": 2}),
        ("device retry", MANY, {"query": "all", "devices": 2}),
        ("device accept", MANY, {"query": "name:w*", "devices": 1}),
    ]


def test_an_interrupted_action_says_what_it_has_done(console, monkeypatch):
    """And another run does the rest."""
    sent = []
    ask = Client._ask

    def lose(self, method, path, **given):
        answer = ask(self, method, path, **given)
        if path == "query/action":
            sent.append(given)
            if len(sent) == 2:
                raise ApiError("lost the connection")
        return answer

    retire = "retire", "--where", OLD, "--yes"
    with monkeypatch.context() as patched:
        patched.setattr(Client, "_ask", lose)
        said = console.ivota(*retire, code=1)
    assert "lost the connection; 2 of 5 devices were retired, and up to 2 more may have" in said
    assert "1 device matches" in console.ivota(*retire)
    assert names(console, status="retired") == ["a", "b", "c", "d", "e"]
