"""What an operator decides, the same through the API, the commands and the pages."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
import typer
from cloud_support import end_back_off
from found import some
from operator_support import SECRET, Console, form, mark
from pages_support import Visitor, let_in
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.cli import app
from ivota_tools.cli.device_views import attempt_table
from ivota_tools.cli.terminal import safe_console
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.pages import selected_devices
from ivota_tools.cloud.rollout import delta_maker
from ivota_tools.cloud.store import models
from ivota_tools.firmware.release import pack


@pytest.fixture
def console(tmp_path):
    with Cloud(tmp_path / "c", back_off=BackOff(3600, 3600)) as cloud:
        made = Console(cloud)
        yield made
        made.close()


def test_nothing_is_lost_by_leaving_something_out(console):
    """A secret, tags, the stop rule, the devices of a campaign or a group."""
    firmware = console.upload("0.2")["id"]
    console.add(["a"], secret=SECRET)
    number = console.api.device("P/a")["id"]

    def secret():
        with console.cloud.database.reading() as session:
            return session.get(models.Device, number).secret

    # No value, or one from a variable that is not set.
    console.refused("secret", console.api.set_secret, number, None)
    console.refused("secret", console.api.set_secret, number, "")
    assert "use --remove" in console.ivota("secret", "a", code=1)
    assert "use --remove" in console.ivota("secret", "a", "", code=1)
    assert "nothing was changed" in console.ivota("secret", "a", "--remove", code=1)
    assert secret() == SECRET
    console.ivota("secret", "a", "--remove", "--yes")
    assert secret() is None
    console.api.set_secret(number, SECRET)

    for call in (console.api.plan_campaign, console.api.create_campaign):
        console.refused("query is empty", call, name="c", version="0.2", query="")
    console.refused("query is empty", console.api.put_group, "all", "")
    assert "query is empty" in console.ivota("campaign", "create", "0.2", "-q", "", code=1)
    assert "query is empty" in console.ivota("group", "set", "all", "", code=1)

    console.api.tag(number, ["beta"])
    for field, words in (("query", "query is empty"), ("stop", "or “never”"), ("least", "value"),
                         ("timeout", "or “never”"), ("soak", "value"), ("success", "value"),
                         ("start", "when the campaign starts")):  # fmt: skip
        given = form(console, firmware, **{field: ""})
        assert words in console.page.send("/campaigns/new", 422, **given), field
    # A choice that the page does not offer is not taken for another one.
    for field, value, words in (("stop_on", "none", "Choose what counts as a failure"),
                                ("only_outdated", "yes", "Choose which versions to update"),
                                ("start", "then", "Choose when the campaign starts"),
                                ("start_at", "2100-05-01T03:00", "clear the time")):  # fmt: skip
        given = form(console, firmware, **{field: value})
        assert words in console.page.send("/campaigns/new", 422, **given), field
    # The beginning of a query may match devices that the whole one does not.
    query = "all " + "-tag:beta " * 200
    given = form(console, firmware, query=query)
    assert "more than 1,024 characters" in console.page.send("/campaigns/new", 400, **given)
    console.page.get(f"/campaigns/new?query={query}")
    assert console.page.fields("/campaigns/new")["query"] == query
    assert console.api.campaigns() == []
    # An empty box is sent, too.
    plan = console.page.post("/campaigns/new", **form(console, firmware, only_outdated=False))
    assert "only_outdated" in console.page.fields("/campaigns/new") and "1 device would" in plan


def leaves(command, path):
    """The commands that do something, with their names."""
    for name, each in getattr(command, "commands", {}).items():
        yield from leaves(each, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


# Commands of the cloud that change something, with what they need; the terminal would ask.
CHANGES = {
    "push": ["0.2", "-d", "P/a"],
    "tag": ["a", "new"],
    "secret": ["a", SECRET],
    "accept": ["waits"],
    "retire": ["a", "--yes"],
    "delete": ["a", "--yes"],
    "retry": ["a"],
    "cancel": ["a"],
    "device add": ["P/added", "--out", "FILE"],
    "device import": ["LIST", "--out", "FOLDER"],
    "device set": ["a"],
    "group set": ["g", "tag:t", "--yes"],
    "group remove": ["g", "--yes"],
    "campaign create": ["0.2", "-q", "all", "--yes"],
    "campaign start": ["1", "--yes"],
    "campaign pause": ["1"],
    "campaign resume": ["1"],
    "campaign cancel": ["1", "--yes"],
    "campaign delete": ["1", "--yes"],
    "campaign retry": ["1"],
    "firmware": ["--delete", "1", "--yes"],
    "user create": ["maria"],
    "user role": ["operator", "viewer"],
    "user password": ["operator"],
    "user remove": ["operator", "--yes"],
    "user reset-second-factor": ["operator", "--yes"],
    "token create": ["t"],
    "token remove": ["t", "--yes"],
    "ddi-token create": ["d", "--device", "T/x"],
    "ddi-token remove": ["d", "--yes"],
    "webhook test": [],
    "webhook retry": [],
}
READS = ("devices", "watch", "why", "attempts", "audit", "health", "group list", "group show",
         "campaign list", "campaign show", "campaign watch", "user list", "token list",
         "ddi-token list", "webhook list", "inspect")  # fmt: skip
ELSEWHERE = (
    "demo",
    "cloud",
    "intake",
    "console",
    "board",
    "sim",
    "backup",
    "restore",
    "store",
    "database",
    "channel",
    "release",
    "verify",
    "keygen",
    "doctor",
)


def test_an_empty_value_changes_nothing(console, tmp_path):
    """Such as a variable that is not set, in any argument or option of any command."""
    console.upload("0.2")
    console.add(["a"], secret=SECRET, application="pump", hardware="rev-b", status="accepted")
    console.add(["waits"], status="pending")
    number = console.api.device("P/a")["id"]
    console.api.tag(number, ["beta"])
    console.api.put_group("g", "tag:beta")
    console.api.create_token("t", "viewer")
    console.api.create_ddi_token("d")
    console.api.create_campaign(name="c", version="0.2", query="all", draft=True,
                                stages=[{"percent": 100}])  # fmt: skip

    def everything():
        ignored = ("audit", "counters", "settings", "reports", "sign_ins")
        with console.cloud.database.reading() as session:
            return {
                table.name: sorted(map(str, session.execute(table.select()).all()))
                for table in models.Base.metadata.sorted_tables
                if table.name not in ignored
            }

    root, before, tried = typer.main.get_command(app.app), everything(), 0
    for words, command in leaves(root, ()):
        if words in READS or words.split()[0] in ELSEWHERE:
            continue
        needs = [str(tmp_path / each) if each.isupper() else each for each in CHANGES[words]]
        places = {f"argument {i}": i for i, each in enumerate(needs) if each[0] != "-"}
        for option in command.params:
            if option.param_type_name == "option" and not option.is_flag:
                given = [i for i, each in enumerate(needs, 1) if each in option.opts]
                places[option.opts[0]] = given[0] if given else len(needs) + 1
        for name, place in places.items():
            more = [] if place < len(needs) else [name]
            case = [*words.split(), *needs[:place], *more, "", *needs[place + 1 :]]
            env = {"IVOTA_URL": console.url, "IVOTA_TOKEN": console.token}
            done = CliRunner(env=env).invoke(app.app, case)
            tried += 1
            assert everything() == before and done.exit_code, (case, done.output)
            assert done.exit_code == 2 or "Input should" not in done.output, case
    assert tried > 50


@pytest.mark.parametrize(
    "stages, words",
    [
        ("10%", "the last stage is 10%"),
        ("500", "the last stage is 500 devices"),
        ("10%,5%", "than the previous one, but 5% follows 10%"),
        ("50%,50%", "than the previous one, but 50% follows 50%"),
        ("5,1,100%", "than the previous one, but 1 device follows 5 devices"),
        ("50,10%,100%", r"stage 2 \(10%\) has 21 of 205 devices, and stage 1 has 50"),
        ("500,100%", "stage 1 is 500 devices, but the campaign has only 205"),
        ("0%,100%", "the stage 0% is impossible"),
    ],
)
def test_stages_that_do_not_grow_are_refused(console, stages, words):
    firmware = console.upload("0.2")["id"]
    console.add([f"d{i}" for i in range(205)])
    order = {"name": "c", "version": "0.2", "query": "all"}
    parsed = [
        {"percent": float(each[:-1])} if each.endswith("%") else {"count": int(each)}
        for each in stages.split(",")
    ]
    if not stages.startswith("0%"):
        console.refused(words, console.api.create_campaign, **order, stages=parsed)
    create = "campaign", "create", "0.2", "-q", "all", "--yes", "--stages", stages
    assert re.search(words, console.ivota(*create, code=1))
    given = form(console, firmware, stages=stages)
    assert re.search(words, console.page.post("/campaigns/new", 422, **given), re.I)
    assert console.api.campaigns() == []


def test_a_plan_is_shown_in_numbers_and_asked_about(console):
    firmware = console.upload("0.2")["id"]
    console.add([f"d{i}" for i in range(205)])
    console.add(["new"], version="0.2")
    order = {"name": "c", "version": "0.2", "query": "all"}
    plan = console.api.plan_campaign(**order)
    assert plan["sizes"] == [1, 21, 205] and (plan["devices"], plan["matching"]) == (205, 206)
    assert plan["left_out"] == {"already run 0.2 or a newer version": 1}
    said = (
        "205 devices would get 0.2. Stage 1: 1 device. Stage 2: 21 devices (20 more). "
        "Stage 3: 205 devices (184 more). Left out: 1 device that already runs 0.2 or a newer "
        "version. The next stage starts when 95 % of the devices in the stages so far are done "
        "and another 10 min have passed. The campaign stops automatically when 10 % of the "
        "finished devices have failed at least once, but not before 10 devices have finished. A "
        "device counts as failed if it is not done 1 d after its first push. The number of "
        "simultaneous downloads is not limited."
    )
    create = "campaign", "create", "0.2", "-q", "all"
    assert console.ivota(*create, "--dry-run") == said
    assert json.loads(console.ivota(*create, "--dry-run", "--json"))["sizes"] == [1, 21, 205]
    assert "nothing was started" in console.ivota(*create, code=1)
    assert "nothing was started" in console.ivota(*create, code=1, given="n\n")
    assert said in console.page.post("/campaigns/new", **form(console, firmware))
    assert console.api.campaigns() == []

    # Somebody else changes what there is meanwhile.
    old, given = mark(console), form(console, firmware)
    console.add(["late"])
    assert "The plan has changed" in console.page.send("/campaigns/new", 409, **given, plan=old)
    console.refused("plan has changed", console.api.create_campaign, **order, plan=plan["mark"])
    assert console.api.campaigns() == []

    console.page.post("/campaigns/new", press="plan")
    console.ivota(*create, "--draft")
    assert "nothing was started" in console.ivota("campaign", "start", 2, code=1)
    console.ivota("campaign", "start", 2, given="y\n")
    assert [
        [each["members"] for each in found["progress"]] for found in console.api.campaigns()
    ] == [[1, 20, 185]] * 2
    console.api.create_campaign(**order, draft=True)
    for found in some(console.api.campaigns(), 3):
        # The same defaults, wherever a campaign is made.
        rules = ("success_share", "soak_s", "stop_share", "stop_least", "stop_on", "timeout_s",
                 "only_outdated", "stages")  # fmt: skip
        assert [found[name] for name in rules] == [
            0.95, 600, 0.1, 10, "first", 86400, True,
            [{"count": 1}, {"percent": 10}, {"percent": 100}],
        ]  # fmt: skip


def test_a_draft_starts_with_the_plan_that_was_seen(console):
    console.upload("0.2")
    console.add([f"d{i}" for i in range(40)])
    order = {"version": "0.2", "query": "all", "draft": True, "name": "c"}
    number = console.api.create_campaign(**order)["id"]
    path, start = f"/campaigns/{number}", f"/campaigns/{number}/start"
    seen = console.api.campaign_plan(number)["mark"]
    console.page.get(path)
    question = re.search(f'action="{start}"[^>]*data-sure="([^"]*)"', console.page.page.text)
    assert question[1] == (
        "Start c now? 40 devices would get 0.2. Stage 1: 1 device. Stage 2: 4 devices (3 more). "
        "Stage 3: 40 devices (36 more)."
    )
    for sentence in console.api.campaign_plan(number)["sentences"]:
        assert sentence in console.page.text
    shown = console.page.fields(start)
    console.add(["late"])
    assert "The plan has changed" in console.page.send(start, **shown)
    assert "form is not complete" in console.page.send(start, 400)
    assert "The plan has changed" in console.page.send(start, **{**shown, "plan": ""})
    console.refused("plan has changed", console.api.start_campaign, number, seen)
    assert console.api.campaign(number)["state"] == "draft"
    assert "Start: 41 devices" in console.page.get(path)
    assert "c started" in console.page.post(start)


def campaign(console, **rules):
    """One that reaches all devices at once."""
    order = {"name": "c", "version": "0.2", "query": "all", "stages": [{"percent": 100}]}
    return console.api.create_campaign(**{**order, **rules})["id"]


def state(console, name, wanted):
    wait_until(lambda: console.api.device(name)["state"] == wanted, f"{name} {wanted}")


def test_firmware_goes_only_to_what_it_is_for(console):
    console.upload("0.2", "blink", b"blink")
    firmware = console.upload("0.3", "pump", b"pump", hardware="rev-b")["id"]
    pump, blink = console.device("pump"), console.device("blink")
    console.add(["other"], application="pump", hardware="rev-a")
    console.add(["unknown"])
    # What a device is for is set, reported, or learned from what it installs.
    console.ivota("device", "set", "pump", "--application", "pump", "--hardware", "rev-b")
    console.api.push("P/blink", "0.2")
    blink.update(blink.expect("update_firmware"))
    state(console, "P/blink", "done")
    assert console.api.device("P/blink")["application"] == "blink"
    pump.publish(b'{"type":"report_version","report":{"version":"0.1","hardware":"rev-B"}}')
    wait_until(lambda: console.api.device("P/pump")["hardware"] == "rev-B", "the report")
    names = {"application:pump": ["P/other", "P/pump"], "hardware:rev-b": ["P/pump"]}
    for query, found in names.items():
        assert sorted(each["device"] for each in console.api.query(query)) == found

    order = {"name": "c", "version": "0.3", "query": "all"}
    left = {"run another application (blink)": 1, "have other hardware (rev-a)": 1}
    plan = console.api.plan_campaign(**order)
    assert (plan["devices"], plan["left_out"], plan["unknown"]) == (2, left, 1)
    said = "1 device that runs another application (blink)"
    create = "campaign", "create", "0.3", "-q", "all"
    assert said in console.ivota(*create, "--dry-run")
    assert "4 devices would get" in console.ivota(*create, "--dry-run", "--include-mismatched")
    assert said in console.page.post("/campaigns/new", **form(console, firmware))
    given = form(console, firmware, include_mismatched="on")
    assert "4 devices would get" in console.page.post("/campaigns/new", **given)

    # One device, too: its page offers only what is for it.
    wrong = "is for the application pump, but P/blink runs blink"
    console.refused(wrong, console.api.push, "P/blink", "0.3")
    assert wrong in console.ivota("push", "0.3", "-d", "P/blink", code=1)
    number = console.api.device("P/blink")["id"]
    page = console.page.get(f"/devices/{number}")
    assert "0.3 · pump" not in page
    assert wrong in console.page.send(f"/devices/{number}/push", firmware=str(firmware))
    text = console.page.get("/?application=blink")
    assert "P/blink" in text and "P/pump" not in text
    assert "Update to 0.3" not in text and "Update to 0.3" in console.page.get("/?q=pump")
    # A version of both: each gets its own, and pages count them apart.
    both = [console.upload("0.9", name, name.encode())["id"] for name in ("blink", "pump")]
    console.ivota("push", "0.9", "-d", "P/blink", "-d", "P/pump")
    assert [console.api.device(name)["firmware_id"] for name in ("P/blink", "P/pump")] == both
    blink.update(blink.expect("update_firmware"))
    state(console, "P/blink", "done")
    blink.hello("0.9")
    assert "Running 0.9 1" in console.page.get(f"/firmware/{both[0]}")
    assert "Running 0.9 0" in console.page.get(f"/firmware/{both[1]}")
    assert "blink 0.9 1" in console.page.get("/")  # the chart's legend
    text = console.page.get("/?application=blink")
    assert "0.9 (1)" in text and "0.1 (" not in text  # the versions to choose from
    console.ivota("push", "0.3", "-d", "P/blink", "--include-mismatched")
    blink.expect("update_firmware")


def test_a_device_of_unknown_kind_can_say_that_it_does_not_fit(console):
    """After the campaign has chosen it, and before its turn."""
    console.upload("0.2", "pump")
    devices = {name: console.device(name) for name in ("a", "b")}
    number = campaign(console, active_most=1)
    wait_until(lambda: any(not each.messages.empty() for each in devices.values()), "a push")
    first, other = sorted(devices, key=lambda name: devices[name].messages.empty())
    devices[other].publish(
        b'{"type":"report_version","report":{"version":"0.1","application":"x"}}'
    )
    wait_until(lambda: console.api.device(f"P/{other}")["application"] == "x", "the report")
    devices[first].update(devices[first].expect("update_firmware"))
    words = f"the firmware is for the application pump, but P/{other} runs x"
    state(console, f"P/{other}", "failed")
    assert words in console.api.why(console.api.device(f"P/{other}")["id"])["why"]
    assert words in console.ivota("why", other) and words in console.page.get(
        f"/campaigns/{number}"
    )
    devices[other].expect("report_version_rsp")
    devices[other].expect_nothing(console.cloud)


def test_a_push_of_what_runs_is_done_at_once(console):
    firmware = console.upload("0.2")["id"]
    device = console.device("same", "0.2")
    assert console.api.push("P/same", "0.2")["device"]["state"] == "done"
    assert "done" in console.ivota("push", "0.2", "-d", "same", "--wait", "--timeout", 30)
    number = console.api.device("P/same")["id"]
    console.page.get(f"/devices/{number}")
    console.page.send(f"/devices/{number}/push", firmware=str(firmware))
    text = console.page.get(f"/devices/{number}")
    assert "It runs 0.2." in text and "confirming" not in text
    device.expect_nothing(console.cloud)


def test_what_happened_in_a_campaign_stays(console):
    """Failures, denominators and times, also once it is cancelled and others follow."""
    console.upload("0.2")
    console.upload("0.3")
    devices = [console.device(f"d{i}") for i in range(3)]
    number = campaign(console, stop_on="last")
    good, bad, _ = devices
    for device in devices:
        push = device.expect("update_firmware")
        if device is good:
            device.update(push)
        if device is bad:
            device.fail("0.2", -5, "KeyError")
    state(console, "P/d0", "done")
    state(console, "P/d1", "retry")

    def figures():
        found = console.api.campaign(number)["progress"][0]
        return [found[name] for name in ("members", "good", "failed", "failing", "given_up")]

    # The first failure is no secret.
    assert figures() == [3, 1, 0, 1, 0]
    numbers = "1 of 3 done, 1 failed (1 to be retried), 1 remaining"
    assert numbers in console.ivota("campaign", "show", number)
    page = console.page.get(f"/campaigns/{number}")
    assert numbers in page and "1 KeyError will retry 1" in page
    took = console.api.attempts(console.api.device("P/d0")["id"])[0]

    assert "nothing was cancelled" in console.ivota("campaign", "cancel", number, code=1)
    console.ivota("campaign", "cancel", number, "--yes")
    for device in ("d0", "d1"):
        console.api.push(f"P/{device}", "0.3")
    assert figures() == [3, 1, 0, 0, 1]
    assert "1 of 3 done, 1 failed" in console.ivota("campaign", "show", number)
    page = console.page.get(f"/campaigns/{number}")
    assert "3 devices: 33 % done" in page and "1 failed" in page and "1 KeyError" in page
    assert "1 of 3 done, 1 failed" in console.page.get("/campaigns")
    # A later target changes neither when the first was done nor how long it took.
    after = console.api.attempts(took["device_id"])[0]
    assert after["ended_at"] == took["ended_at"] and after["updated_at"] == took["updated_at"]
    with console.cloud.database.writing() as session:
        session.get(models.Assignment, took["id"]).first_push_at = took["ended_at"] - 1
    assert "1 s total" in console.page.get(f"/devices/{took['device_id']}")
    said = json.loads(console.ivota("attempts", "d0", "--json"))[0]
    assert (said["ended_at"], said["updated_at"]) == (took["ended_at"], took["updated_at"])
    failed = console.api.attempts(console.api.device("P/d1")["id"])[0]
    assert (failed["failure_code"], failed["failure_msg"]) == (-5, "KeyError")
    assert "KeyError" in console.ivota("attempts", "d1")


def test_a_timeout_does_not_replace_a_reported_failure(console):
    console.upload("0.2")
    device = console.device("d0")
    number = campaign(console, timeout_s=2)
    device.expect("update_firmware")
    device.fail("0.2", -5, "KeyError")
    state(console, "P/d0", "failed")
    (found,) = console.api.attempts(console.api.device("P/d0")["id"])
    assert (found["failure_code"], found["failure_msg"]) == (-5, "KeyError")
    assert found["failed_at"] < found["ended_at"]
    both = "-5 KeyError; not finished 2 s after the push"
    for command in ("attempts", "why"):
        assert both in console.ivota(command, "d0")
    assert both in console.page.get(f"/devices/{found['device_id']}")
    page = console.page.get(f"/campaigns/{number}")
    assert "1 KeyError failed 1" in page and "not finished" not in page


def test_a_later_failure_does_not_replace_an_earlier_one(console):
    firmware = console.upload("0.2")["id"]
    device = console.device("d0")
    number = campaign(console)
    for count, words in enumerate(("KeyError", "OSError", "OSError"), 1):
        device.expect("update_firmware")
        device.fail("0.2", -5, words)
        state(console, "P/d0", "failed" if count == 3 else "retry")
        end_back_off(console.cloud, device)
    (found,) = console.api.attempts(console.api.device("P/d0")["id"])
    said = [(each["code"], each["message"]) for each in found["failures"]]
    assert said == [(-5, "KeyError"), (-5, "OSError")]
    times = [each["at"] for each in found["failures"]]
    assert times == sorted(times) and found["failed_at"] > times[-1]
    groups = [(each["message"], each["devices"]) for each in console.api.failures(firmware)]
    assert groups == [("KeyError", 1), ("OSError", 1)]
    page = console.page.get(f"/campaigns/{number}")
    assert "1 KeyError failed 1" in page and "1 OSError failed 1" in page


def _plain(table):
    return " ".join(re.sub("[│┃]", " ", table).split())


def test_first_failures_can_stop_a_stage(console):
    console.upload("0.2")
    devices = [console.device(f"d{i}") for i in range(3)]
    first = campaign(console, stop_on="first", stop_least=2, stop_share=0.5)
    for device in devices[:2]:
        device.expect("update_firmware")
        device.fail("0.2", -5, "KeyError")
    wait_until(lambda: console.api.campaign(first)["state"] == "stopped", "the stop")
    assert "2 of 2 failed" in console.ivota("campaign", "show", first)
    page = console.page.get(f"/campaigns/{first}")
    assert "stopped automatically: 2 of 2 failed" in page and "at least once" in page
    # The stop rule's number is the one that every list, page and command shows.
    numbers = "0 of 3 done, 2 failed (2 to be retried), 1 remaining"
    assert numbers in page and numbers in console.page.get("/campaigns")
    shown = console.ivota("campaign", "show", first)
    assert numbers in shown and "stopped automatically: 2 of 2 failed. Fix the cause" in shown
    listed = json.loads(console.ivota("campaign", "list", "--json"))[0]["totals"]
    assert listed == console.api.campaign(first)["totals"]
    assert [listed[name] for name in ("devices", "done", "failed", "remaining")] == [3, 0, 2, 1]
    assert "stopped 1/1 0 2 1 3" in _plain(console.ivota("campaign", "list"))
    # Whoever waits for the last failure says so, in any medium.
    console.api.cancel_campaign(first)
    made = console.ivota("campaign", "create", "0.2", "-q", "all", "--draft", "--stop-on", "last",
                         "--json")  # fmt: skip
    assert '"stop_on": "last"' in made


def test_no_order_is_claimed_that_times_do_not_support(console):
    """A device that reported 1.0 before its `done`, and nothing since."""
    console.upload("0.2")
    device = console.device("d")
    console.api.push("P/d", "0.2")
    device.update(device.expect("update_firmware"))
    state(console, "P/d", "done")
    found = console.api.device("P/d")
    assert (found["version"], found["left_target"]) == ("0.1", False)
    shown = console.ivota("devices") + console.page.get(f"/devices/{found['id']}")
    shown += console.page.get("/")
    for claim in ("has since", "Update to 0.2"):
        assert claim not in shown
    device.hello("0.1")
    wait_until(lambda: console.api.device("P/d")["left_target"], "the report")
    assert "has since reported 0.1" in console.ivota("devices")
    text = console.page.get(f"/devices/{found['id']}")
    assert "has since reported 0.1" in text and "off target" in text and "up to date" not in text
    # Nor do the fleet's figure and its list count it as up to date.
    assert "0 up to date" in console.page.get("/") and "off target done, but" in console.page.text
    assert "No devices match" in console.page.get("/?state=done")
    console.api.push("P/d", "0.2")
    device.expect("update_firmware")
    assert " 0 s so far" not in console.page.get(f"/devices/{found['id']}")


def test_a_wrong_public_url_is_noticed(console):
    console.upload("0.2")
    device = console.device("d")
    console.cloud.public_url = "http://192.0.2.1:1"
    number = campaign(console)
    push = device.expect("update_firmware")
    assert push["url"].startswith("http://192.0.2.1:1/files/")
    device.progress("0.2", "downloading", percent="0")
    state(console, "P/d", "downloading")
    assert not console.api.device("P/d")["unasked"]

    def later(seconds):
        with console.cloud.database.writing() as session:
            session.query(models.Assignment).one().started_at -= seconds

    later(16)
    wait_until(lambda: console.api.device("P/d")["unasked"], "the cloud to notice")
    words = "no device has requested the file at http://192.0.2.1:1/files/"
    assert words in console.api.why(console.api.device("P/d")["id"])["why"]
    assert words in (why := console.ivota("why", "d")) and "the cloud's --public-url" in why
    assert "no device has requested the file" in console.ivota("devices")
    for page in (f"/devices/{console.api.device('P/d')['id']}", f"/campaigns/{number}"):
        assert words in (text := console.page.get(page))
        assert "the cloud's public URL" in text and "--public-url" not in text
    # Somebody asks after all, such as once a firewall is open.
    console.page.http.get(push["url"].replace("http://192.0.2.1:1", console.url))
    wait_until(lambda: not console.api.device("P/d")["unasked"], "the request")


def test_other_bytes_under_the_same_name_are_refused(console, tmp_path):
    first = console.upload("0.2", "blink", b"one")
    path = tmp_path / "other.bin"
    path.write_bytes(b"two" * 200)
    words = "blink 0.2 already exists with different contents"
    differs = f"300 bytes, SHA-256 {first['sha256'][:12]}…, and this file has 600 bytes"
    for part in (words, differs):
        console.refused(part, console.api.upload, path, "0.2", "blink")
    url = f"{console.url}/api/v1/firmware?version=0.2&application=blink"
    # The page's script sends the same request, with the browser's sign-in.
    console.page.get("/firmware")
    answer = console.page.http.post(
        url, content=path.read_bytes(), headers={"X-CSRF-Token": console.page.csrf}
    )
    assert answer.status_code == 409 and words in answer.text and differs in answer.text
    # The same bytes for something else would keep what they were first uploaded for.
    (path := tmp_path / "same.bin").write_bytes(b"one" * 100)
    for_all = "already uploaded as 0.2 without hardware, not for rev-b"
    console.refused(for_all, console.api.upload, path, "0.2", "blink", hardware="rev-b")
    assert console.api.upload(path, "0.2", "blink")["firmware"]["id"] == first["id"]
    console.api.delete_firmware(first["id"])
    again = console.api.upload(path, "0.2", "blink", hardware="rev-b")["firmware"]
    assert (again["id"], again["hardware"]) == (first["id"], "rev-b")
    assert "only rev-b" in console.page.get("/firmware") and "rev-b" in console.ivota("firmware")
    source = tmp_path / "blink"
    for text in ("1", "2"):
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(f"def main():\n    print({text})\n")
        release = "release", source, "--version", "0.5", "--out", tmp_path / f"{text}.bin"
        said = console.ivota(*release, "--upload", code=0 if text == "1" else 1)
    assert "already exists with different contents" in said and "differs in app." in said


def test_retry_says_why_there_is_nothing_to_retry(console):
    console.upload("0.2")
    device = console.device("d")
    number = campaign(console, stop_share=0.5, stop_least=1, stop_on="last")
    device.expect("update_firmware")
    device.fail("0.2", -5, "KeyError")
    state(console, "P/d", "retry")
    words = "no device has failed permanently; 0 of 1 are done, 1 will be retried automatically"
    console.refused(words, console.api.retry_campaign, number)
    assert words in console.ivota("campaign", "retry", number, code=1)
    console.page.get(f"/campaigns/{number}")
    assert words in console.page.send(f"/campaigns/{number}/retry")
    with console.cloud.database.writing() as session:
        session.query(models.Assignment).one().hard_failures = 3
        session.query(models.Assignment).one().state = "failed"
    wait_until(lambda: console.api.campaign(number)["state"] == "stopped", "the stop")
    # With nothing left, resume makes no sense.
    page = console.page.get(f"/campaigns/{number}") and console.page.page.text
    assert ">Resume<" not in page and 'class="main">Retry failed devices<' in page
    # No page names a command or an option of the terminal; no error is pydantic's.
    console.add(["waits"], status="pending")
    shown = console.page.get(f"/devices/{console.api.device('P/waits')['id']}")
    shown += console.page.get(f"/devices/{console.api.device('P/d')['id']}")
    assert "`" not in shown and "--" not in shown
    assert "(`ivota accept P/waits`)" in console.ivota("why", "waits")
    console.refused("^stages: must be greater than 0$", console.api.create_campaign, name="c",
                    version="0.2", query="all", stages=[{"percent": 0}])  # fmt: skip


def test_lists_of_devices_fit_the_terminal_and_are_filtered(console):
    names = [f"greenhouse-{i}" for i in range(3)]
    console.add(names, application="thermometer")
    console.add(["pump"], version="0.3")
    table = CliRunner(env={"IVOTA_URL": console.url, "IVOTA_TOKEN": console.token,
                           "COLUMNS": "60"}).invoke(app.app, ["devices"]).output  # fmt: skip
    for name in names:
        assert f" P/{name} " in table
    assert all(len(line) <= 60 for line in table.splitlines()) and "pushes" not in table
    # One rule for all tables: cells stay whole, except reasons.
    attempt = {"firmware_id": 1, "campaign_id": 1, "state": "failed", "pushes": 3,
               "created_at": 0.0, "soft_failures": 0, "hard_failures": 3, "failure_code": -5,
               "result_code": -5, "result_msg": "",
               "failure_msg": "crashed in its trial, KeyError every_s in x.py:14"}  # fmt: skip
    for width, column in ((80, False), (120, True)):
        shown = safe_console(file=io.StringIO(), width=width)
        shown.print(attempt_table([attempt], {1: "0.2"}, width))
        text = shown.file.getvalue()
        assert ("pushes" in text) == column and "│ 01-01 00:00:00 │ 0.2 " in text
        assert all(len(line) <= width for line in text.splitlines()) and "│ failed " in text
    assert "last seen" in console.ivota("devices") and "application" in console.ivota("devices")
    found = json.loads(console.ivota("devices", "--where", "version>=0.3", "--json"))
    assert [each["device"] for each in found] == ["P/pump"]
    assert [each["device"] for each in console.api.query("version>=0.3")] == ["P/pump"]
    assert "P/pump" in console.page.get("/?q=version>=0.3")
    assert "no devices match" in console.ivota("devices", "--where", "tag:none")
    assert "the query is empty" in console.ivota("devices", "--where", "", code=1)
    for typo in ("vesion<0.3", "'ver sion>1'"):
        assert "is not a valid term: use all, tag:T" in console.page.get(f"/?q={typo}")


def test_every_command_prints_json_and_is_completed(console):
    group = typer.main.get_command(app.app)
    lacking = [
        name for name, command in leaves(group, ())
        if not any("--json" in getattr(each, "opts", ()) for each in command.params)
    ]  # fmt: skip
    assert lacking == []
    console.add(["kitchen"])
    env = {**os.environ, "IVOTA_URL": console.url, "IVOTA_TOKEN": console.token,
           "_IVOTA_COMPLETE": "complete_bash", "COMP_WORDS": "ivota why P/k", "COMP_CWORD": "2",
           "FORCE_COLOR": "1"}  # fmt: skip
    program = "from ivota_tools.cli.app import app; app(prog_name='ivota')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["P/kitchen"], done
    del env["_IVOTA_COMPLETE"]
    colours = "\x1b[32m"

    def devices(**more):
        return subprocess.run(
            [*command, "campaign", "list"], env={**env, **more}, capture_output=True, text=True,
            check=True,
        ).stdout  # fmt: skip

    console.upload("0.2")
    console.api.create_campaign(name="c", version="0.2", query="name:none")
    assert colours in devices() and colours not in devices(NO_COLOR="1")


def test_devices_are_enrolled_one_by_one_and_from_csv(console, tmp_path):
    """Each with its board.json, by command, API and page."""
    board = console.api.add_devices([{"device": "P/api", "application": "pump"}])[0]["board"]
    expected = {"host": "127.0.0.1", "port": console.cloud.mqtt_port}
    assert (board["device_name"], board["mqtt"]) == ("api", expected)
    assert "device_secret" not in board  # this cloud asks for none
    file = tmp_path / "board.json"
    console.ivota("device", "add", "P/cli", "--tag", "beta", "--out", file)
    assert json.loads(file.read_text())["device_name"] == "cli"
    assert file.stat().st_mode & 0o077 == 0
    assert "already exists" in console.ivota("device", "add", "P/cli2", "--out", file, code=1)
    assert console.api.device("cli")["tags"] == ["beta"]

    rows = "product,name,hardware,tags\nP,one,rev-b,beta new\nP,two/é,,\n"
    (tmp_path / "list.csv").write_text(rows)
    done = console.ivota("device", "import", tmp_path / "list.csv", "--out", tmp_path / "boards")
    assert "2 devices added" in done
    boards = [json.loads(each.read_text()) for each in sorted(tmp_path.glob("boards/*/*.json"))]
    assert [each["device_name"] for each in boards] == ["one", "two/é"]
    assert console.api.device("P/one")["hardware"] == "rev-b"
    assert [each.get("hardware") for each in boards] == ["rev-b", None]  # the board reports it

    def page(text, status):
        console.page.get("/devices/new")
        shown = console.page.post("/devices/list", status, list=text)
        return zipfile.ZipFile(io.BytesIO(console.page.page.content)) if status == 200 else shown

    archive = page(rows.replace("one", "three").replace("two", "four"), 200)
    assert archive.namelist() == ["P%2Fthree/board.json", "P%2Ffour%2F%C3%A9/board.json"]
    assert json.loads(archive.read("P%2Fthree/board.json"))["device_name"] == "three"
    # All of a list or nothing.
    console.device("there")
    count = len(console.api.devices())
    for text, words in (("P,x\n", "must name the columns"), ("product,name\nP\n", "line 2"),
                        ("product,name\nP,x\nP,x\n", "in the list twice"),
                        ("product,name\nP,x\nP,there\n", "set its application, hardware and tags"),
                        ("product,name\nP,x\nP,a+\n", "MQTT topic")):  # fmt: skip
        status = 409 if "there" in text else 422
        assert words in page(text, status).replace("Line", "line")
        (tmp_path / "wrong.csv").write_text(text)
        out = "--out", tmp_path / "none"
        assert words in console.ivota("device", "import", tmp_path / "wrong.csv", *out, code=1)
    assert len(console.api.devices()) == count and not (tmp_path / "none").exists()


def test_the_first_page_names_the_ports_that_are_configured(tmp_path):
    with Cloud(tmp_path / "c", public_url="http://ota.example:8999") as cloud:
        let_in(cloud, "operator")
        with Visitor(cloud.api_url, "operator") as visitor:
            visitor.get("/")
            assert "8123" not in visitor.text and f'"port": {cloud.mqtt_port}' in visitor.text
    with Cloud(tmp_path / "d") as cloud:
        let_in(cloud, "operator")
        with Visitor(cloud.api_url, "operator") as visitor:
            visitor.get("/")
            assert f"--public-url http://ADDRESS:{cloud.http_port}" in visitor.text


def test_rows_are_selected_and_columns_sort(console):
    firmware = console.upload("0.2")["id"]
    console.add(["a", "b", "c"], version="0.10")
    console.add(["d"], version="0.9")
    numbers = {each["device_name"]: each["id"] for each in console.api.devices()}

    def order(sort):
        console.page.get(f"/?sort={sort}")
        return re.findall(r'<tr id="d\d+">.*?P/<wbr>(\w)', console.page.page.text, re.S)

    assert order("version") == ["d", "a", "b", "c"] and order("-name") == ["d", "c", "b", "a"]
    assert 'value="version:0.9"' in console.page.page.text  # the search suggests it

    def act(*names, **given):
        console.page.get("/")
        rows = {f"d{numbers[name]}": "1" for name in names}
        filled = console.page.fields("/devices/selected", **given)
        return console.page.send("/devices/selected", **filled, **rows)

    assert "Select devices first" in act(do="retire")
    assert "Enter a tag" in act("a", do="tag")
    assert "Choose what to do" in act("a")
    assert "Choose the firmware." in act("a", do="push", firmware="")
    console.page.get(f"/devices/{numbers['a']}")
    for action in ("push", "update"):
        pushed = console.page.send(f"/devices/{numbers['a']}/{action}", firmware="")
        assert "Choose the firmware." in pushed and not console.api.device("P/a")["target"]
    assert "Added the tag beta to 2 devices" in act("a", "b", do="tag", tag="beta")
    assert console.api.device("P/b")["tags"] == ["beta"]
    assert "Updating 2 devices to 0.2" in act("a", "b", do="push", firmware=str(firmware))
    assert console.api.device("P/a")["target"] == "0.2"
    assert "Retired 1 device" in act("c", do="retire")
    console.api.delete_device(numbers["b"])
    text = act("d", "c", "a", "b", do="push", firmware=str(firmware))
    assert (
        "Updating 1 device to 0.2." in text and "Skipped 1 device: the device is retired." in text
    )
    assert "already being updated to 0.2" in text and "no longer exists" in text
    assert console.api.device("P/d")["target"] == "0.2"
    # One entry for an action, with the names of its devices.
    entries = [each for each in console.api.audit() if each["subject"] == "selected devices"]
    push = {"version": "0.2", "firmware_id": firmware}
    assert [json.loads(each["detail"]) for each in entries] == [
        {"selected": ["P/a", "P/b"], "add": ["beta"], "devices": 2},
        {"selected": ["P/a", "P/b"], **push, "devices": 2},
        {"selected": ["P/c"], "devices": 1},
        {"selected": ["P/a", "P/c", "P/d"], **push, "devices": 1},
    ]


def test_an_old_page_and_a_second_click_do_nothing_by_accident(console):
    """The update in a row of the fleet page, and the button that accepts all pending devices."""
    firmware = console.upload("0.2")["id"]
    console.add(["a", "b", "c"], status="accepted")
    numbers = {each["device_name"]: each["id"] for each in console.api.devices()}
    page = console.page.get("/")
    assert page.count("Update to 0.2") == 3

    def update(name):
        return console.page.send(f"/devices/{numbers[name]}/update", firmware=str(firmware))

    def targets(name):
        return [each["firmware_id"] for each in console.api.attempts(numbers[name])]

    assert "Updating P/a to 0.2" in update("a") and "Updating P/a to 0.2" in update("a")
    assert targets("a") == [firmware]
    other = console.upload("0.3", data=b"newer")["id"]
    console.api.push("P/b", "0.3")
    assert "is already updating to 0.3" in update("b") and targets("b") == [other]
    with console.cloud.database.writing() as session:
        session.get(models.Device, numbers["c"]).version = "0.3"
    assert "P/c now runs 0.3" in update("c") and targets("c") == []


def test_an_older_version_is_never_preselected(console):
    console.upload("0.2")
    console.add(["d"], version="0.3")
    number = console.api.device("P/d")["id"]
    push = f"/devices/{number}/push"
    console.page.get(f"/devices/{number}")
    assert console.page.fields(push)["firmware"] == ""
    assert "choose the firmware" in console.page.post(push).lower()
    assert console.api.attempts(number) == []
    newer = console.upload("0.4", data=b"newer")["id"]
    console.page.get(f"/devices/{number}")
    assert console.page.fields(push)["firmware"] == str(newer)


def test_accepting_all_is_for_the_devices_on_the_page(console, monkeypatch):
    monkeypatch.setattr(selected_devices, "PART", 2)
    console.add(["a", "b", "c", "d", "e"], status="pending", first_seen=5.0)
    numbers = {each["device_name"]: each["id"] for each in console.api.devices()}
    console.page.get("/")
    shown = console.page.fields("/pending/accept")
    # Of those on the page, one is retired, and the id of another is given to a newcomer.
    console.api.retire_device(numbers["b"])
    with console.cloud.database.writing() as session:
        session.delete(session.get(models.Device, numbers["e"]))
    console.add(["late", "later"], status="pending", first_seen=6.0)
    assert console.api.device("P/late")["id"] == numbers["e"]
    before = len(console.api.audit())
    text = console.page.post("/pending/accept")
    assert "Accepted 3 devices. Skipped 2 devices: the device is no longer pending." in text
    assert "2 new devices are still pending." in text
    assert [each["device_name"] for each in console.api.devices("accepted")] == ["a", "c", "d"]
    (entry,) = console.api.audit()[before:]
    assert (entry["subject"], entry["detail"]) == ("all pending devices", '{"devices": 3}')
    again = console.page.send("/pending/accept", **shown)
    assert "Accepted 0 devices." in again and len(console.api.audit()) == before + 1
    assert "form is not complete" in console.page.send("/pending/accept", 400)
    wrong = shown | {"devices": "1-zzzzzz"}
    assert "list of devices is not valid" in console.page.send("/pending/accept", **wrong)
    assert len(console.api.devices("pending")) == 2


def test_deltas_are_made_for_what_a_campaigns_devices_run(console, tmp_path, monkeypatch):
    monkeypatch.setattr(delta_maker, "LOOK_S", 0.05)
    source = tmp_path / "blink"
    source.mkdir()
    (source / "data.txt").write_text("".join(map(str, range(9000))))
    files = {}
    for version in ("0.1", "0.2"):
        (source / "app.py").write_text(f"def main():\n    print('{version}')\n")
        files[version] = pack(source, version, out=tmp_path / f"{version}.bin").path
        console.api.upload(files[version])
    first, late = console.device("first"), console.device("late")
    # Those that were there first need not wait for it; the others save most of the download.
    campaign(console, query="all", active_most=1)
    pushes = [each.messages for each in (first, late)]
    wait_until(lambda: any(not each.empty() for each in pushes), "a push")
    made = wait_until(
        lambda: [each for each in console.api.firmware() if each["base_version"] == "0.1"],
        "a delta",
    )[0]
    assert made["size"] < files["0.2"].stat().st_size / 4
    assert [line["who"] for line in console.api.audit() if line["action"] == "firmware upload"][
        -1
    ] == "engine"
    assert "engine" in console.ivota("audit")
    begun, other = (first, late) if not first.messages.empty() else (late, first)
    whole = begun.expect("update_firmware")
    begun.update(whole)
    assert whole["file_size"] == files["0.2"].stat().st_size
    assert other.expect("update_firmware")["file_size"] == made["size"]
    assert "0.1" in console.page.get(f"/firmware/{made['whole_id']}")
    assert "patch" in console.ivota("firmware")


def test_what_a_version_died_of_is_grouped_over_the_fleet(console):
    console.upload("0.1", "pump", b"one")
    ids = [console.upload(version, "pump", version.encode())["id"] for version in ("0.2", "0.3")]
    devices = [console.device(f"d{i}") for i in range(3)]
    died = "trial: KeyError every_s in history.py:14"
    for version in ("0.2", "0.3"):
        for device in devices[: 1 if version == "0.2" else 3]:
            console.api.push(device.name, version)
            device.expect("update_firmware")
            hang = device is devices[2]
            device.fail(version, -5, "trial: reset by the watchdog" if hang else died)
            state(console, device.name, "retry")
    found = console.api.failures(ids[1])
    assert [(each["message"], each["devices"], each["since"]) for each in found] == [
        (died, 2, "0.2"), ("trial: reset by the watchdog", 1, "0.3"),
    ]  # fmt: skip
    assert "│ 2 │ -5 │ 0.2 │ trial: KeyError every_s" in console.ivota(
        "firmware", "--failures", ids[1]).replace("       ", " ").replace("  ", " ")  # fmt: skip
    page = console.page.get(f"/firmware/{ids[1]}")
    assert f"{died} , 2 devices ; first seen in version 0.2" in page
