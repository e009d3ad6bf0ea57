"""What made an operator of 200 boards hesitate, through API, commands and pages."""

import json
import re
import time

import pytest
from cloud_support import Device
from operator_support import Console, form
from test_operator import CHANGES
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cli import app, doctor_cloud
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.store import models
from ivota_tools.cloud.store.backup import back_up, restore
from ivota_tools.common import times
from ivota_tools.common.api_connection import ApiError, running_port


@pytest.fixture
def console(tmp_path):
    with Cloud(tmp_path / "c", back_off=BackOff(3600, 3600)) as cloud:
        made = Console(cloud)
        yield made
        made.close()


def run(*words, code=0, given=None, **variables):
    env = {"COLUMNS": "200", **variables}
    done = CliRunner(env=env).invoke(app.app, [str(word) for word in words], input=given)
    assert done.exit_code == code, (done.output, done.exception)
    return " ".join(done.output.split())


def test_devices_that_need_attention_come_first(console):
    firmware = console.upload("0.2")["id"]
    now = time.time()
    console.add(["fine", "failed", "stuck", "retried", "busy", "far"], last_seen=now)
    console.add(["quiet"], last_seen=now - 9000)
    console.add(["new"], last_seen=None)
    states = {"failed": "failed", "stuck": "downloading", "retried": "retry",
              "busy": "downloading", "fine": "done"}  # fmt: skip
    with console.cloud.database.writing() as session:
        for device in session.query(models.Device):
            if state := states.get(device.device_name):
                old = now - (5000 if device.device_name == "stuck" else 1)
                session.add(
                    models.Assignment(device_id=device.id, firmware_id=firmware, state=state,
                                      pushes=1, created_at=old, updated_at=old)
                )  # fmt: skip
    expected = ["failed", "stuck", "retried", "quiet", "new", "busy", "far", "fine"]
    listed = json.loads(console.ivota("devices", "--json"))
    assert [each["device_name"] for each in listed] == expected
    said = console.ivota("devices")
    assert said.index("P/retried") < said.index("P/busy") < said.index("P/far")
    assert said.endswith("8 devices: 1 failed, 1 stalled, 1 to be retried, 1 silent for an hour, "
                         "1 never reported, 1 updating, 2 up to date or idle")  # fmt: skip
    by_name = json.loads(console.ivota("devices", "--sort", "name", "--json"))
    assert [each["device_name"] for each in by_name] == sorted(expected)
    # The same words in queries, in any medium, and for campaigns and groups.
    for state, names in (("attention", {"failed", "stuck", "retried"}), ("stalled", {"stuck"}),
                         ("on-the-way", {"busy"}), ("idle", {"quiet", "new", "far"}),
                         ("done", {"fine"})):  # fmt: skip
        query = f"state:{state}"
        assert {each["device_name"] for each in console.api.query(query)} == names
        assert f"{len(names)} device" in console.ivota("devices", "--where", query)
        page = console.page.get(f"/?q={query}")
        assert names == {name for name in expected if f"P/{name} " in page + " "}
    assert {each["device_name"] for each in console.api.query("-state:attention")} == {
        "quiet", "new", "busy", "far", "fine"}  # fmt: skip
    console.refused("the states are attention", console.api.query, "state:broken")


def test_firmware_for_no_device_is_pointed_out(console, tmp_path):
    source = tmp_path / "thermo"
    source.mkdir()
    (source / "app.py").write_text("def main():\n    pass\n")
    release = "release", source, "--upload", "--out", tmp_path / "out.bin", "--overwrite"
    assert "no device has" not in console.ivota(*release, "--version", "1")  # there is none
    console.add(["a", "b"], application="thermometer", hardware="Rev-B")
    console.add(["c"])
    words = ("no device has the application thermo; the devices have thermometer; the application "
             "of 1 device is not known")  # fmt: skip
    assert words in console.ivota(*release, "--version", "2")
    path = tmp_path / "image.bin"
    path.write_bytes(b"firmware")
    made = console.api.upload(path, "3", "thermo", hardware="rev-a")
    assert words in made["warnings"]
    assert any("no device has the hardware rev-a" in each for each in made["warnings"])
    page = console.page.get(f"/firmware/{made['firmware']['id']}")
    assert "No device has the application thermo;" in page
    path.write_bytes(b"other")
    fits = console.api.upload(path, "4", "thermometer", hardware="rev-b")
    assert not [each for each in fits["warnings"] if "no device" in each]


def test_a_board_json_is_complete_and_the_cloud_learns_no_password(console, tmp_path):
    word = "a good password"
    file = tmp_path / "board.json"
    add = "device", "add", "P/one", "--wifi", "hall", "--out", file
    said = console.ivota(*add, IVOTA_WIFI_PASSWORD=word)
    assert "is complete; its mqtt.host refers to this machine" in said
    assert json.loads(file.read_text())["wifi"] == {"ssid": "hall", "password": word}
    assert "needs the Wi-Fi network" in console.ivota("device", "add", "P/two", "--out",
                                                      tmp_path / "2.json")  # fmt: skip
    # Only names are in the command line; the password is asked for, and a wrong one adds nothing.
    add = "device", "add", "P/three", "--wifi", "hall", "--out", tmp_path / "3.json"
    assert "8 to 63 characters" in console.ivota(*add, code=1, given="short\n")
    console.refused("does not exist", console.api.device, "P/three")
    console.ivota(*add, given="\n")
    assert json.loads((tmp_path / "3.json").read_text())["wifi"]["password"] is None

    rows = f"product,name,wifi,wifi_password\nP,four,,\nP,five,attic,{word}!\n"
    (tmp_path / "list.csv").write_text(rows)
    out = tmp_path / "boards"
    said = console.ivota("device", "import", tmp_path / "list.csv", "--wifi", "hall", "--out", out,
                         IVOTA_WIFI_PASSWORD=word)  # fmt: skip
    assert "is complete" in said
    found = {each.parent.name: json.loads(each.read_text())["wifi"] for each in out.glob("*/*")}
    assert found == {"P%2Ffour": {"ssid": "hall", "password": word},
                     "P%2Ffive": {"ssid": "attic", "password": f"{word}!"}}  # fmt: skip
    console.page.get("/devices/new")
    given = {"product": "P", "name": "six", "wifi": "hall", "wifi_password": word}
    assert f'"password": "{word}"' in console.page.post("/devices/new", **given)
    console.page.get("/devices/new")
    given = {"product": "P", "name": "seven", "wifi": "hall", "wifi_password": "short"}
    assert "8 to 63 characters" in console.page.post("/devices/new", 422, **given)
    assert word not in console.page.page.text
    files = [path for path in console.cloud.folder.rglob("*") if path.is_file()]
    assert files and not [path for path in files if word.encode() in path.read_bytes()]


def test_doctor_asks_the_cloud_about_itself(tmp_path, monkeypatch):
    """Its ports, broker, public URL, certificate and backup; the machine's own do not matter."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    with Cloud(tmp_path / "c", public_url="http://127.0.0.1:9") as cloud:

        def found():
            done = CliRunner(env={"IVOTA_URL": cloud.api_url}).invoke(
                app.app, ["doctor", "--json"]
            )
            return {each["what"]: each for each in json.loads(done.stdout)}

        first = found()
        assert first["ports of the cloud"]["found"] == (
            f"HTTP {cloud.http_port}, MQTT {cloud.mqtt_port}"
        )
        assert "port 8123" not in first  # no advice to choose another
        assert first["public URL"]["state"] == "problem"
        assert "--public-url" in first["public URL"]["advice"]
        assert first["last backup"]["found"] == "never"
        assert first["data directory"]["found"].startswith(str(tmp_path / "c"))
        cloud.public_url = cloud.api_url
        back_up(tmp_path / "c", None, tmp_path / "backup")
        second = found()
        assert second["public URL"]["found"].startswith("only this machine can reach")
        assert (second["last backup"]["state"], second["last backup"]["advice"]) == ("ok", "")
    state = dict.fromkeys(("ok", "mqtt_connected", "standby", "sign_in"), False)
    lost = doctor_cloud._broker({**state, "broker": "mqtt.example:1883"})
    assert lost.state == "problem" and "mqtt.example:1883, not connected" in lost.found
    for days, expected in ((-1, "problem"), (5, "note"), (90, "ok")):
        assert doctor_cloud._certificate(time.time() + days * 86400 + 60).state == expected


def test_the_setup_link_is_the_public_one(tmp_path):
    """Unless the console would turn its visitors away, because they come without TLS."""
    for options, public in (({}, False), ({"plain_console": True}, True)):
        with Cloud(
            tmp_path / f"{public}", public_url="http://ota.example:8123", **options
        ) as cloud:
            url = "http://ota.example:8123" if public else cloud.api_url
            assert cloud.set_up_url.startswith(f"{url}/set-up/")
    with Cloud(tmp_path / "proxy", public_url="https://ota.example") as cloud:
        assert cloud.set_up_url.startswith("https://ota.example/set-up/")


def test_a_time_without_a_zone_is_in_utc(console, monkeypatch):
    """In commands and forms alike, whatever the zone of the machine; all show the zone."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        firmware = console.upload("0.2")["id"]
        create = "campaign", "create", "0.2", "-q", "all", "--dry-run", "--start-at"
        for text in ("2100-05-01T03:00", "2100-05-01T05:00+02:00"):
            assert "starts at 2100-05-01 03:00 UTC." in console.ivota(*create, text)
        given = form(console, firmware, start="at", start_at="2100-05-01T03:00")
        assert "starts at 2100-05-01 03:00 UTC." in console.page.post("/campaigns/new", **given)
        console.page.post("/campaigns/new", press="plan")
        made = console.api.campaigns()[0]
        assert made["start_at"] == times.parse("2100-05-01T03:00Z") == 4112823600.0
        assert "starts at 2100-05-01 03:00 UTC" in console.ivota("campaign", "show", made["id"])
        # A plan for now does not mention it.
        assert "starts at" not in console.ivota("campaign", "start", made["id"], code=1)
        # Hours that are over in UTC are a mistake, not a start at once.
        past = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 7200))
        assert "in the past" in console.ivota(*create, past, code=1)
        given = form(console, firmware, start="at", start_at=past)
        assert "in the past" in console.page.post("/campaigns/new", 422, **given)
        said = console.ivota("audit")
        assert "audit log (UTC)" in said and time.strftime("%m-%d %H:", time.gmtime()) in said
    finally:
        monkeypatch.undo()
        time.tzset()


# Commands that change something without a question, because another command takes it back.
UNASKED = {
    "push": "push", "tag": "tag --remove", "accept": "retire", "retry": "cancel",
    "cancel": "retry", "device add": "delete", "device import": "delete",
    "device set": "device set --forget", "campaign pause": "campaign resume",
    "campaign resume": "campaign pause", "campaign retry": "campaign cancel",
    "user create": "user remove", "user role": "user role", "user password": "user password",
    "token create": "token remove", "ddi-token create": "ddi-token remove",
    "webhook test": "", "webhook retry": "",
}  # fmt: skip


def test_what_nothing_takes_back_is_asked_about(console):
    """Without a terminal and without --yes, such a command changes nothing."""
    console.upload("0.2")
    console.add(["a"], secret="MDEyMzQ1Njc4OWFiY2RlZg==", status="accepted")
    console.add(["waits"], status="pending")
    console.api.put_group("g", "tag:beta")
    console.api.create_token("t", "viewer")
    console.api.create_ddi_token("d")
    console.api.create_campaign(name="c", version="0.2", query="all", draft=True)

    def everything():
        with console.cloud.database.reading() as session:
            return {
                table.name: sorted(map(str, session.execute(table.select()).all()))
                for table in models.Base.metadata.sorted_tables
                if table.name not in ("audit", "counters", "settings", "reports", "sign_ins")
            }

    before = everything()
    asked = [
        *CHANGES.items(),
        ("accept", ["--all", "--yes"]),
        ("secret", ["a", "--remove", "--yes"]),
    ]
    for name, words in asked:
        if "--yes" not in words and name != "secret":
            assert name in UNASKED, name
            continue
        if "--yes" in words:
            rest = [each for each in words if each != "--yes"]
            said = console.ivota(*name.split(), *rest, code=1)
            assert "answer y, or use --yes" in said, (name, said)
        assert everything() == before, name
    assert "Accept 1 device that matches 'all' and is pending" in console.ivota(
        "accept", "--all", code=1
    )
    # The same query is no change.
    console.ivota("group", "set", "g", "tag:beta")
    database = {"IVOTA_DATABASE": "postgresql://nobody@127.0.0.1:9/none"}
    assert "nothing was restored" in run("restore", console.cloud.folder, code=1, **database)


def test_a_restored_update_waits_for_a_report(tmp_path):
    """Its board may be done since the backup, and says `done` only once."""
    (tmp_path / "f.bin").write_bytes(b"firmware" * 1000)
    boards = {}
    with Cloud(tmp_path / "c") as cloud, Client(cloud.api_url) as api:
        api.upload(tmp_path / "f.bin", "0.2")
        for name in ("done", "old", "newer"):
            with Device(cloud.mqtt_port, "P", name) as device:
                device.hello("0.1")
                api.push(f"P/{name}", "0.2")
                boards[name] = device.expect("update_firmware")
                device.progress("0.2", "downloading", percent="40")
                wait_until(lambda name=name: api.device(f"P/{name}")["percent"] == 40, "40 %")
        back_up(cloud.folder, None, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new", None)
    with Cloud(tmp_path / "new") as cloud, Client(cloud.api_url) as api:
        # Nothing is claimed, and nothing is pushed, until the boards have said what they run.
        for name in boards:
            found = api.device(f"P/{name}")
            assert (found["state"], found["percent"]) == ("waiting", None)
            assert "a backup was restored" in api.why(found["id"])["why"]
        with Device(cloud.mqtt_port, "P", "done") as device:
            device.expect_nothing(cloud)
            device.hello("0.2")
            wait_until(lambda: api.device("P/done")["state"] == "done", "done")
            device.expect_nothing(cloud)
        with Device(cloud.mqtt_port, "P", "newer") as device:
            device.hello("0.3")  # from a push that the backup does not know
            wait_until(lambda: api.device("P/newer")["state"] == "skipped", "skipped")
        with Device(cloud.mqtt_port, "P", "old") as device:
            device.hello("0.1")
            device.update(device.expect("update_firmware"))
            wait_until(lambda: api.device("P/old")["state"] == "done", "done")
        assert api.attempts(api.device("P/old")["id"])[0]["pushes"] == 2  # none is forgotten
    with Cloud(tmp_path / "new") as cloud, Client(cloud.api_url) as api:  # only the first time
        assert api.device("P/old")["state"] == "done"


def test_a_wrong_port_is_told_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("IVOTA_TOKEN", raising=False)
    data = tmp_path / "ivota"
    assert running_port(data) is None
    with Cloud(data) as cloud:
        with Client("http://127.0.0.1:9") as api, pytest.raises(ApiError) as said:
            api.health()
        assert f"IVOTA_URL=http://127.0.0.1:{cloud.http_port}" in str(said.value)
    # A file that a killed cloud left behind is none.
    (data / "api-1.sock").touch()
    with Client("http://127.0.0.1:9") as api, pytest.raises(ApiError, match="start one with"):
        api.health()


def test_users_are_listed_with_their_second_factor(console):
    with console.cloud.database.writing() as session:
        session.query(models.User).one().totp = "JBSWY3DPEHPK3PXP"
    said = console.ivota("user", "list")
    assert "second factor" in said and re.search(r"operator\W+operator\W+yes", said)


def test_why_knows_silence_and_cancelled_campaigns(console):
    console.upload("0.2")
    console.add(["silent"], last_seen=time.time() - 9000)
    console.add(["never"], first_seen=None, last_seen=None, version=None)
    silent = console.api.device("P/silent")["id"]

    def why(name):
        said = console.api.why(console.api.device(name)["id"])["why"]
        assert said in console.ivota("why", name)
        page = console.page.get(f"/devices/{console.api.device(name)['id']}")
        assert said[1:] in page
        return said

    assert why("silent") == "no update has been assigned to the device; last seen 2 h 30 min ago"
    assert why("never").endswith("the device has never reported")
    one = {"count": 1}, {"percent": 100}
    order = {"version": "0.2", "query": "name:silent", "only_outdated": True}
    number = console.api.create_campaign(name="spring", stages=list(one), **order)["id"]
    wait_until(lambda: console.api.device("P/silent")["campaign_id"] == number, "the target")
    console.api.cancel_campaign(number)
    assert why("silent").startswith(
        "the update to 0.2 was cancelled with campaign 'spring'; last seen 2 h"
    )
    console.api.push("P/silent", "0.2")
    console.api.cancel_device(silent)
    assert why("silent").startswith("an operator cancelled the update to 0.2; last seen 2 h")
    # Failed before, and in another campaign now.
    with console.cloud.database.writing() as session:
        attempt = session.query(models.Assignment).filter_by(current=True).one()
        attempt.state, attempt.failure_code, attempt.failure_msg = "failed", -5, "KeyError"
    order["query"] = "name:[ns]*"
    number = console.api.create_campaign(name="autumn", draft=True, stages=list(one), **order)[
        "id"
    ]
    with console.cloud.database.writing() as session:
        session.get(models.Campaign, number).state = "paused"
        session.add(models.Member(campaign_id=number, device_id=silent, stage=1))
    assert re.match("waiting for stage 2 of campaign 'autumn'.*; its update to 0.2 failed "
                    "permanently: -5 KeyError; last seen", why("silent"))  # fmt: skip
    # Cancelled before its turn.
    console.add(["late1", "late2"], last_seen=time.time())
    order["query"] = "name:late*"
    number = console.api.create_campaign(name="summer", stages=list(one), **order)["id"]
    names = ("P/late1", "P/late2")
    wait_until(lambda: any(console.api.device(name)["campaign_id"] for name in names), "stage 1")
    console.api.cancel_campaign(number)
    assert "campaign 'summer' (version 0.2) was cancelled before the device's turn" in {
        why(name) for name in names
    }


def test_a_plan_says_all_that_will_apply(console):
    firmware = console.upload("0.2")["id"]
    console.add(["a"])
    create = "campaign", "create", "0.2", "-q", "all", "--dry-run"
    words = ("A device counts as failed if it is not done 12 h after its first push. At most 5 "
             "devices download at the same time. At most 20 devices start per "
             "minute.")  # fmt: skip
    assert words in console.ivota(*create, "--timeout", "12h", "--at-once", 5, "--per-minute", 20)
    given = form(console, firmware, timeout="12h", at_once="5", per_minute="20")
    assert words in console.page.post("/campaigns/new", **given)
    plan = console.api.plan_campaign(name="c", version="0.2", query="all", timeout_s=None)
    assert any("There is no timeout" in each for each in plan["sentences"])
    # Another limit is another plan.
    limited = console.api.plan_campaign(name="c", version="0.2", query="all", timeout_s=None,
                                        active_most=5)  # fmt: skip
    assert limited["mark"] != plan["mark"]


def test_a_watchdog_reset_is_listed_and_ends_no_update(console):
    device = console.device("a")
    device.publish(
        b'{"type": "report_notice", "report": {"message": "the watchdog reset the board"}}'
    )
    number = console.api.device("P/a")["id"]
    wait_until(lambda: len(console.api.reports(number)) == 2, "the notice")
    words = "the watchdog reset the board once outside a trial, "
    assert words in console.ivota("devices", "a") and words in console.ivota("why", "a")
    assert console.api.why(number)["watchdog_resets"] == 1
    with console.cloud.database.writing() as session:
        session.query(models.Report).update({"at": time.time() - 7500})
    assert "Watchdog resets 1, most recently 2 h ago" in console.page.get(f"/devices/{number}")
    assert "the watchdog reset the board" in console.page.get(f"/devices/{number}/reports")
