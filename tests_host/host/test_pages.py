"""The console's pages over HTTP: what they show, how much they ask the database, and bad input."""

import html
import json
import os
import re
import time
from types import SimpleNamespace

import page_forms
import pytest
import sqlalchemy as sa
from pages_support import PASSWORD, Visitor, let_in
from starlette.requests import Request

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.pages import rendering
from ivota_tools.cloud.pages.page_visit import Visit
from ivota_tools.cloud.store.models import (
    Assignment,
    Audit,
    Campaign,
    Device,
    Failure,
    Firmware,
    Member,
)
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import pack
from ivota_workshop.screenshots import releases, scene

EXAMPLE = CHECKOUT / "examples" / "thermometer"
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    """(cloud, scene) with three users."""
    folder = tmp_path_factory.mktemp("console")
    with Cloud(folder / "c") as cloud:
        let_in(cloud, "admin", "operator", "viewer")
        firmware = releases.upload(folder / "made", cloud.api_url, local_token(cloud.folder))
        yield cloud, scene.fill(cloud.database, firmware, time.time())


@pytest.fixture
def viewer(console):
    with Visitor(console[0].api_url, "viewer") as found:
        yield found


@pytest.fixture
def operator(console):
    with Visitor(console[0].api_url, "operator") as found:
        yield found


def test_the_fleet_says_what_is_where(viewer):
    text = viewer.get("/")
    assert "216 devices 199 up to date" in text and "10 need attention" in text
    assert "Winter release" in text and "stopped automatically" in text
    assert "ImportError no module named 'bme280' in app.py:3" in text
    assert "216 devices Previous Next" in text
    assert "First Previous Next" in viewer.get(viewer.link("next"))
    assert "216 devices Previous Next" in viewer.get("/?page=99")  # nobody has made such a link


def test_what_is_stuck_comes_first(viewer):
    text = viewer.get("/")
    rows = text[text.index("Last seen Actions") :]
    assert rows.index("failed") < rows.index("downloading, stalled") < rows.index("will retry")


def test_a_figure_leads_to_as_many_devices_as_it_says(viewer):
    viewer.get("/")
    figure = r'<a class="figure[^"]*" href="([^"]+)"><span class="big">(\d+)</span>'
    figures = re.findall(figure, viewer.page.text)
    assert len(figures) == 4
    for address, count in figures:
        viewer.get(address)
        assert f'<span class="quiet">{count} devices</span>' in viewer.page.text, address


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("q=pump", 24),
        ("q=PUMP-01", 2),
        ("q=tag:beta", 12),
        ("q=tag:beta+version:0.3", 7),
        ("q=-tag:beta+name:bed-*", 22),
        ("q=version%3C0.3", 139),
        ("q=seen%3E1d", 0),
        ("q=100%25_", 0),
        ("state=failed", 8),
        ("state=stalled", 1),
        ("state=attention", 10),
        ("version=0.2&state=failed", 8),
        ("state=nonsense", 0),
    ],
)
def test_search_and_filters(viewer, asked, count):
    text = viewer.get(f"/?{asked}")
    if count == 0:
        assert "No devices match" in text
    else:
        assert f" {count} device" in text


def test_a_query_that_is_none_is_said(viewer):
    assert "use seen<7d" in viewer.get("/?q=seen%3A7")


def test_a_device_tells_its_life(console, viewer):
    text = viewer.get(f"/devices/{console[1].device}")
    assert "3 pushes 216 kB received" in text and "2 resumes 1 failure" in text
    assert "resumed the download at 41 %, reached 63 %" in text
    assert "-1 time_out: reset 3, silence 2" in text
    assert "done: trial passed, update confirmed" in text
    assert "0.3 current, reported" in text and "0.1 reported" in text
    assert '{"type": "report_progress"' in viewer.get(f"/devices/{console[1].device}/reports")
    failed = viewer.get(f"/devices/{console[1].failed}")
    assert 'data-part="versions"' in viewer.page.text  # live, like the rest of the page
    assert (
        "rolled back" in failed and "trial failed: rolled back to the previous version" in failed
    )


def test_a_firmware_tells_what_is_inside(console, viewer):
    text = viewer.get(f"/firmware/{console[1].firmware}")
    assert "sequence 3, for the target thermometer" in text
    assert "app.mpy" in text and "Updater: " in text
    assert "216,000 bytes" in text and "Running 0.3 77" in text
    assert "Delta from" in text and "no base (compressed)" in text
    assert re.search(r"0\.2 \d+(\.\d)? kB \([\d,]+ bytes\) \d\d %", text)
    assert "yes, sequence 3 2, smallest" in viewer.get("/firmware")


def test_a_firmware_file_that_was_gone_is_seen_again(tmp_path):
    with Cloud(tmp_path / "c") as cloud:
        let_in(cloud, "viewer")
        made = pack(EXAMPLE, "0.2", out=tmp_path / "made.bin")
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            number = api.upload(made.path)["firmware"]["id"]
        (kept,) = (cloud.folder / "firmware").iterdir()
        with Visitor(cloud.api_url, "viewer") as visitor:
            away = kept.rename(tmp_path / "away")
            assert "the file is missing from the data directory" in visitor.get(
                f"/firmware/{number}"
            )
            away.rename(kept)
            assert "none; boards that require signatures reject this file" in visitor.get(
                f"/firmware/{number}"
            )


def test_a_delta_is_no_firmware_to_choose(console, operator):
    """It is shown with what it makes."""
    cloud, made = console
    with cloud.database.reading() as session:
        delta = session.scalar(sa.select(Firmware.id).where(Firmware.whole_id.is_not(None)))
    operator.get(f"/firmware/{delta}")
    assert operator.page.url.path == f"/firmware/{made.firmware}"
    for path in (f"/devices/{made.device}", "/campaigns/new"):
        operator.get(path)
        assert f'<option value="{delta}"' not in operator.page.text


def test_a_campaign_tells_how_far_it_is_and_why_not(console, viewer):
    text = viewer.get(f"/campaigns/{console[1].campaign}")
    assert "70 done 3 failed 131 remaining" in text
    assert "Stage 2: 70 of 82 devices are done; the next stage starts at 95 %" in text
    assert "2 crashed in its trial, ImportError no module named 'bme280' in app.py:3" in text
    stopped = viewer.get(f"/campaigns/{console[1].stopped}")
    assert "The campaign stopped automatically: 5 of 12 failed. Fix the cause" in stopped
    assert "Winter release" in viewer.get("/campaigns")


def test_failures_without_a_message_keep_their_devices_apart(tmp_path):
    """No message and an empty one are two reasons, each with its own device."""
    with Cloud(tmp_path / "c") as cloud:
        let_in(cloud, "viewer")
        with cloud.database.writing() as session:
            firmware = Firmware(version="0.2", kind="other", size=9, md5="0", sha256="0",
                                uploaded_at=NOW)  # fmt: skip
            campaign = Campaign(name="C", firmware=firmware, query="", state="paused", stages=[],
                                success_share=0.9, soak_s=0, stop_least=1, only_outdated=True,
                                created_at=NOW)  # fmt: skip
            session.add(campaign)
            for name, message in (("one", None), ("two", "")):
                device = Device(product_id="P", device_name=name, garbled=0, revision=0)
                failed = Assignment(device=device, firmware=firmware, campaign=campaign,
                                    state="failed", failure_code=-5, failure_msg=message,
                                    failed_at=NOW,
                                    created_at=NOW, updated_at=NOW)  # fmt: skip
                failed.failures.add(Failure(number=1, at=NOW, code=-5, message=message))
                session.add(Member(campaign_id=1, device=device, stage=0, assignment=failed))
        with Visitor(cloud.api_url, "viewer") as visitor:
            text = visitor.get("/campaigns/1")
            assert text.count("P/one") == text.count("P/two") == 1


def test_the_audit_log_is_searched(viewer):
    assert "campaign stopped" in viewer.get("/audit?q=stopped")
    assert "No entries match" in viewer.get("/audit?q=%25")
    assert "build server" in viewer.get("/audit?who=build+server")


def is_off(visitor, action):
    """Whether the button of this action cannot be pressed."""
    forms = re.findall(r'<form[^>]*action="([^"]*)"(.*?)</form>', visitor.page.text, re.S)
    (form,) = [body for url, body in forms if url.endswith(f"/{action}")]
    return " disabled" in form


def test_an_operator_acts_on_devices(console):
    cloud, made = console
    with Visitor(cloud.api_url, "operator") as visitor:
        visitor.get(f"/devices/{made.failed}")
        assert not is_off(visitor, "retry")
        assert "Retrying the update of" in visitor.post(f"/devices/{made.failed}/retry")
        assert is_off(visitor, "retry")
        assert "nothing to retry" in visitor.send(f"/devices/{made.failed}/retry")
        assert "is cancelled" in visitor.post(f"/devices/{made.failed}/cancel")
        text = visitor.post(f"/devices/{made.failed}/tags", tags="one, two  three,one")
        assert "now has 3 tags" in text
        assert "64 characters" in visitor.post(f"/devices/{made.failed}/tags", tags="x" * 65)
        text = visitor.post(f"/devices/{made.failed}/push", firmware=str(made.firmware))
        assert re.search(r"Updating [\w/-]+ to 0\.3\.", text)
        text = visitor.post(f"/devices/{made.failed}/push", firmware="999")
        assert "Firmware id 999 does not exist" in text
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            last = api.audit()[-1]
        assert (last["who"], last["action"]) == ("operator", "push")


def test_an_operator_runs_a_campaign(console):
    cloud, made = console
    with Visitor(cloud.api_url, "operator") as visitor:
        url = f"/campaigns/{made.campaign}"
        visitor.get(url)
        assert "is paused" in visitor.post(f"{url}/pause")
        assert "Cannot pause" in visitor.send(f"{url}/pause")
        assert "resumed" in visitor.post(f"{url}/resume")
        assert re.search(r"Retrying \d devices\.", visitor.post(f"{url}/retry"))
        visitor.get("/campaigns/new")
        form = {"name": "Third", "firmware": str(made.firmware), "stages": "1, 50 %, 100 %",
                "success": "90", "start": "draft", "query": "tag:beta", "soak": "0",
                "stop": "never", "least": "5", "timeout": "never"}  # fmt: skip

        def create(**form):
            assert "thermometer 0.3" in visitor.post("/campaigns/new", **form)
            return visitor.post("/campaigns/new", press="plan")  # the page still has the rest

        text = create(**form)
        assert "Third was created" in text and "up to 50 %" in text
        url = visitor.page.url.path
        visitor.get("/campaigns/new")
        assert "thermometer 0.3 was created" in create(**{**form, "name": ""})
        visitor.get(url)
        assert "Third started" in visitor.post(f"{url}/start")
        assert "is cancelled. The cloud sends no more pushes" in visitor.post(f"{url}/cancel")


FILLED = {"password": PASSWORD, "again": PASSWORD, "product": "P", "name": "new",
          "list": "product,name\nP,new"}  # fmt: skip
# Fields that a browser may leave out, or that only its password manager reads.
LEFT_OUT = {"csrf", "everywhere", "next", "name of /account/password",
            "name of /account/second-factor"}  # fmt: skip


def test_a_form_without_one_of_its_fields_changes_nothing(console):
    """No default takes its place, in any form of the console."""
    cloud, made = console
    tried = set()
    with cloud.database.writing() as session:
        session.add(Device(product_id="P", device_name="waits", status="pending", first_seen=0.0))
    with Visitor(cloud.api_url, "admin") as visitor:
        for page in ("/", f"/devices/{made.device}", "/devices/new", "/campaigns/new",
                     "/campaigns/groups", "/people", "/account",
                     "/account/second-factor"):  # fmt: skip
            visitor.get(page)
            for form in page_forms.forms(visitor.page.text):
                names = {each.name for each in form.controls
                         if each.kind not in (*page_forms.BUTTONS, "checkbox")}  # fmt: skip
                given = {name: FILLED[name] for name in names & FILLED.keys()}
                if form.action == "/devices/selected":
                    given = {"do": "push", f"d{made.device}": "1"}
                for name in names if form.method == "post" else ():
                    if {name, f"{name} of {form.action}"} & LEFT_OUT:
                        continue
                    sent = form.filled(**{**given, name: None})
                    assert "form is not complete" in visitor.send(form.action, 400, **sent), name
                    tried.add(f"{form.action}: {name}")
    assert len(tried) > 40 and "/pending/accept: newest" in tried, tried
    with cloud.database.reading() as session:
        entries = session.scalars(sa.select(Audit.action).where(Audit.who == "admin"))
        assert set(entries) == {"sign in"}


def test_an_operator_names_groups(console, viewer):
    """They mean the same to the commands, and a campaign's form offers them."""
    cloud = console[0]
    page = "/campaigns/groups"
    with Visitor(cloud.api_url, "operator") as visitor:
        visitor.get(page)
        assert "not a valid term" in visitor.post(page, 422, name="x", query="pump")
        assert "Name: must not be empty." in visitor.post(page, 422, name="", query="tag:beta")
        text = visitor.post(page, name="first", query="tag:beta seen<1d", look="1")
        assert "Matching now: 12 devices" in text and "first" not in text
        assert 'value="tag:beta seen&lt;1d"' in visitor.page.text
        text = visitor.post(page, name="first", query="tag:beta seen<1d")
        assert "first was saved" in text and "first tag:beta seen<1d 12" in text
        visitor.post(page, name="first", query="tag:beta version<0.3")  # another query for it
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            (group,) = [each for each in api.groups() if each["name"] == "first"]
            assert group["query"] == "tag:beta version<0.3"
            last = api.audit()[-1]
        assert (last["who"], last["action"], last["subject"]) == ("operator", "group set", "first")
        assert f"first tag:beta version<0.3 {group['devices']}" in visitor.get(page)
        assert "first" in visitor.get("/campaigns/new")
        assert ">Update</a>" not in viewer.get(page) and "first" in viewer.text
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            many = [api.put_group(f"g{n:02}", "tag:none")["id"] for n in range(25)]
            visitor.get(page)
            text = visitor.get(visitor.link("next"))
            assert "27 groups" in text and "g24 tag:none 0" in text
            assert not visitor.link("next") and "g24" not in visitor.get(page)
            for number in many:
                api.remove_group(number)
        visitor.get(page)
        assert "first was deleted" in visitor.post(f"{page}/{group['id']}/remove")
        assert "already deleted" in visitor.send(f"{page}/{group['id']}/remove")


def test_a_search_goes_on_to_a_campaign(operator):
    """Its words become a query, the version that was chosen too; a state cannot be one."""
    link = re.compile(r'href="(/campaigns/new[^"]*)"[^>]*>Update')

    def leads(address):
        operator.get(address)
        return html.unescape(link.search(operator.page.text)[1])

    assert "Update all devices" in operator.get("/")
    operator.get(leads("/?q=pump+tag:beta&version=0.2"))
    assert 'value="name:*pump* tag:beta version:0.2"' in operator.page.text
    operator.get(leads("/?q=GREENHOUSE/pump-02+seen<1d"))
    assert 'value="product:GREENHOUSE name:*pump-02* seen&lt;1d"' in operator.page.text
    assert "GREENHOUSE/pump-02" in operator.text
    assert "/campaigns/new?" not in operator.get("/?state=failed") + operator.page.text
    # What no campaign could be made of is said before anybody tries.
    assert "not a valid term" in operator.get("/campaigns/new?query=pump")
    assert "216 devices" in operator.get("/campaigns/new?query=all")


def test_devices_that_sign_in_are_added_here(tmp_path):
    with Cloud(tmp_path / "c", sign_in=True) as cloud:
        let_in(cloud, "operator", "viewer")
        with Visitor(cloud.api_url, "viewer") as visitor:
            assert "Ask an operator to add the first device" in visitor.get("/")
        with Visitor(cloud.api_url, "operator") as visitor:
            assert "Add the first device" in visitor.get("/")
            assert "No groups yet. A group is a saved query" in visitor.get("/campaigns/groups")
            visitor.get("/devices/new")
            for product, name, said in (("", "a", "both without"), ("P/Q", "a", "both without"),
                                        ("P", "a+", "MQTT topic")):  # fmt: skip
                assert said in visitor.post("/devices/new", 422, product=product, name=name)
            assert f'value="{html.escape(name)}"' in visitor.page.text
            text = visitor.post("/devices/new", product="P", name="äther")
            found = json.loads(text[text.index("{") : text.index("} Copy") + 1])
            assert (found["product_id"], found["device_name"]) == ("P", "äther")
            assert "already has a secret, so nothing was added: replace its" in visitor.post(
                "/devices/new", 409, csrf=word(visitor), product="P", name="äther"
            )
            assert found["device_secret"] not in visitor.get("/devices/1")
            assert "Authentication device secret" in visitor.text
            other = visitor.post("/devices/1/secret")
            assert found["device_secret"] not in other and '"device_secret"' in other
            with cloud.database.reading() as session:
                assert session.get(Device, 1).secret in other
            assert "device add" in visitor.get("/audit") and "device secret" in visitor.text


def word(visitor):
    visitor.get("/devices/new")
    return visitor.csrf


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"firmware": "x"}, "Choose the firmware"),
        ({"firmware": "999"}, "Firmware id 999 does not exist"),
        ({"stages": "one"}, "is not a valid stage"),
        ({"stages": "1.5"}, "is not a valid stage"),
        ({"stages": "9" * 400}, "is not a valid stage"),
        ({"stages": "200 %"}, "is impossible"),
        ({"success": "101"}, "from 0 to 100"),
        ({"soak": "a while"}, "enter a duration such as 30 s"),
        ({"stop": "-1"}, "from 0 to 100"),
        ({"least": "0"}, "a whole number above 0"),
        ({"timeout": "9999999 d"}, "Timeout: must be at most 366 d."),
        ({"query": "pump"}, "is not a valid term"),
        ({"start": "at", "start_at": "soon"}, "choose a date"),
    ],
)
def test_a_campaign_that_cannot_be(operator, console, changes, said):
    """Everything typed is still there."""
    good = {"name": "Fourth", "firmware": str(console[1].firmware), "success": "90",
            "least": "5", "start": "draft", "query": "all", "stages": "100%", "soak": "0",
            "stop": "never", "timeout": "never"}  # fmt: skip
    operator.get("/campaigns/new")
    text = operator.post("/campaigns/new", 422, **{**good, **changes})
    assert said in text
    assert 'value="Fourth"' in operator.page.text


@pytest.mark.parametrize("number", ["²", "9" * 10, "9" * 40])
def test_a_number_that_is_none_of_ours(operator, console, number):
    """Of a form that nobody has shown: no database is asked for what it could not hold."""
    operator.get("/campaigns/new")
    text = operator.post("/campaigns/new", 422, name="", firmware=number, start="draft")
    assert "Choose the firmware" in text
    device = f"/devices/{console[1].device}"
    operator.get(device)
    text = operator.post(f"{device}/push", firmware=number)
    assert "Choose the firmware" in text
    assert "to date" in operator.get(f"/?page={number}")


def test_names_from_devices_are_text_and_no_markup(console, viewer):
    cloud = console[0]
    name = '<img src=x onerror="alert(1)">'
    with cloud.database.writing() as session:
        device = Device(product_id="<b>", device_name=name, version="<i>", garbled=0, revision=0,
                        last_seen=time.time(), first_seen=time.time())  # fmt: skip
        session.add(device)
        session.flush()
        number = device.id
    try:
        for path in ("/?q=img", f"/devices/{number}"):
            viewer.get(path)
            assert "<img src=x" not in viewer.page.text and "<b>/" not in viewer.page.text
            assert "&lt;img src=x" in viewer.page.text
    finally:
        with cloud.database.writing() as session:
            session.execute(sa.delete(Device).where(Device.id == number))


def test_what_is_not_there(viewer):
    for path in ("/devices/999999", "/devices/99999999999999", "/campaigns/999", "/firmware/0",
                 "/nothing", "/static/../frame.py", "/static/none.js"):  # fmt: skip
        viewer.get(path, 404)
    assert viewer.http.put("/").status_code == 405


def test_assets_may_be_kept_and_only_by_their_content(viewer):
    viewer.get("/")
    address = viewer.page.text.split('href="/static/console.css?')[1].split('"')[0]
    kept = viewer.http.get(f"/static/console.css?{address}")
    assert "immutable" in kept.headers["cache-control"]
    assert viewer.http.get("/static/console.css?old").headers["cache-control"] == "no-cache"


def test_an_upgrade_on_the_disk_changes_no_page_of_what_runs(tmp_path):
    """Also none that nobody has seen yet: its new template may ask for what the code lacks."""
    (tmp_path / "page.html").write_text("old")
    made = rendering.environment(tmp_path)
    (tmp_path / "page.html").write_text("new")
    os.utime(tmp_path / "page.html", (NOW, NOW))
    assert made.get_template("page.html").render() == "old"


def test_a_pages_address_with_other_words():
    request = Request(
        {"type": "http", "path": "/fleet", "query_string": b"q=name%3Aa&page=3", "headers": []}
    )
    page = SimpleNamespace(request=request)
    assert Visit.again(page, page=4, sort="version") == "/fleet?q=name%3Aa&page=4&sort=version"
    assert Visit.again(page, q=None, page="") == "/fleet"
