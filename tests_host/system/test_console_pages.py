"""The console seen by a browser: from an empty installation to a finished campaign, and further.

A real Chromium, a real broker, a real simulated board. What a page says on its console, a refusal
by its own Content-Security-Policy among it, fails the test.
"""

from __future__ import annotations

import base64
import json
import socket
import time
import zipfile
from contextlib import contextmanager

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from board_support import settings
from playwright.sync_api import expect
from sqlalchemy import update

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.identity_provider import IdentityProvider
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.accounts.users import create
from ivota_tools.cloud.pages import live_events
from ivota_tools.cloud.rollout.assignment_states import BackOff
from ivota_tools.cloud.store.models import Device, Firmware, WebhookMessage
from ivota_tools.cloud.webhooks import outbox
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board, Proxy
from ivota_workshop.screenshots.browser import browser as chromium
from ivota_workshop.screenshots.browser import context, sign_in
from ivota_workshop.screenshots.consoles import NAME, PASSWORD, consoles

EXAMPLE = CHECKOUT / "examples" / "thermometer"
COLOURS = ["color-contrast", "link-in-text-block"]  # axe's rules that a scheme may break
WAIT_MS = 60_000  # for what a board does on a machine that has other things to do

pytestmark = pytest.mark.slow


expect.set_options(timeout=WAIT_MS)  # else five seconds, too few for a busy machine


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shown():
    with consoles() as found:
        yield found


@contextmanager
def page_of(browser, phone=False, javascript=True):
    """A page of its own browser session; it must have nothing to complain of."""
    complaints = []
    with context(browser, False, phone, javascript) as opened:
        page = opened.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: said.type == "error"
                and complaints.append(f"{page.url}: {said.text}"))  # fmt: skip
        yield page
    expected = ("401 (Unauthorized)", "403 (Forbidden)", "404 (Not Found)", "422 (Unprocessable",
                "502 (Bad Gateway)", "net::ERR_")  # fmt: skip
    left = [each for each in complaints if not any(known in each for known in expected)]
    assert not left, left


@pytest.fixture(scope="module")
def signed_in(browser, shown):
    """Gives a page that the admin of the fleet that is made up has signed in on."""

    @contextmanager
    def make(phone=False):
        with page_of(browser, phone) as page:
            sign_in(page, shown.url)
            yield page

    return make


def fill_few(cloud):
    """Three devices, a firmware for them, and an admin."""
    now = time.time()
    with cloud.database.writing() as session:
        create(session, NAME, PASSWORD, "admin", now, NAME)
        session.add(
            Firmware(version="0.2", kind="other", size=9, md5="0", sha256="0", uploaded_at=now)
        )
        for name in ("attic", "garage", "kitchen"):
            session.add(
                Device(product_id="HOME", device_name=name, version="0.1", first_seen=now,
                       last_seen=now, garbled=0, revision=1)
            )  # fmt: skip


def wait_for(look, what):
    deadline = time.monotonic() + WAIT_MS / 1000
    while not look():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


def test_from_an_empty_installation_to_a_finished_campaign(browser, tmp_path):
    """And then a version that fails its trial, a cancel in mid-download, and the audit log.

    No page is loaded again by hand where it says that it keeps itself up to date.
    """
    with (
        Cloud(tmp_path / "cloud", back_off=BackOff(0.2, 0.2)) as cloud,
        Proxy("127.0.0.1", cloud.http_port) as slow,
        page_of(browser) as page,
    ):
        cloud.public_url = f"http://127.0.0.1:{slow.port}"
        asked = []
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
        board = Board(tmp_path / "board", bits=64, mpy=True,
                      config=settings("kitchen", cloud.mqtt_port))  # fmt: skip
        board.install()
        try:
            set_up(page, cloud)
            first_board(page, cloud, board)
            upload(page, tmp_path, "0.2")
            finished_campaign(page)
            failing(page, tmp_path)
            cancelled(page, tmp_path, slow, cloud)
            page.get_by_role("link", name="Fleet", exact=True).first.click()
            page.get_by_label("Select P/kitchen").check()
            page.get_by_label("Firmware").select_option("0.3 · thermometer")
            page.locator("#selected").get_by_role("button", name="Update").click()
            expect(page.get_by_role("status").filter(has_text="Updating 1 device")).to_be_visible()
            assert "Update P/kitchen to 0.3?" in asked
            assert "Update P/kitchen to 0.4 · thermometer · 400 kB? It runs 0.2." in asked
            assert asked[-1] == "Update the 1 selected device to 0.3 · thermometer?"
        finally:
            board.stop()
            print(*board.log, sep="\n")
        page.get_by_role("link", name="Audit").click()
        for action in ("campaign start", "campaign finished", "firmware upload", "push",
                       "device cancel", "sign in"):  # fmt: skip
            expect(page.get_by_role("cell", name=action, exact=True).first).to_be_visible()


def set_up(page, cloud):
    page.goto(cloud.set_up_url)
    page.get_by_label("Name").fill("Maria")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Confirm password").fill(PASSWORD)
    page.get_by_role("button", name="Create user").click()
    expect(page.get_by_role("status").filter(has_text="Welcome, maria")).to_be_visible()


def first_board(page, cloud, board):
    """The empty page says what to do, and gives way to the fleet when a board reports."""
    expect(page.get_by_role("heading", name="No board has reported yet")).to_be_visible()
    expect(page.get_by_text(f'"port": {cloud.mqtt_port}')).to_be_visible()
    expect(page.get_by_text("ivota board install --config board.json")).to_be_visible()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    board.power_on()
    expect(page.get_by_role("link", name="P/kitchen")).to_be_visible()
    expect(page.get_by_role("row", name="P/kitchen")).to_contain_text("0.1")


def test_a_board_signs_in_with_what_the_console_shows(browser, tmp_path):
    """From an empty console that lets in nobody, to a board with the configuration shown."""
    with Cloud(tmp_path / "cloud", sign_in=True) as cloud, page_of(browser) as page:
        set_up(page, cloud)
        page.get_by_role("link", name="Add the first device").click()
        page.get_by_label("Product").fill("HOME")
        page.get_by_label("Name").fill("kitchen")
        page.get_by_role("button", name="Add device", exact=True).click()
        shown = json.loads(page.locator("pre", has_text="product_id").inner_text())
        assert shown.pop("wifi")  # a simulated board has its network already
        page.get_by_role("link", name="Fleet", exact=True).first.click()
        row = page.get_by_role("row", name="HOME/kitchen")
        expect(row).to_contain_text("never")
        board = Board(tmp_path / "board", bits=64, mpy=True, config=shown)
        board.install()
        board.power_on()
        try:
            expect(row).to_contain_text("0.1")
        finally:
            board.stop()
            print(*board.log, sep="\n")


def test_listed_boards_and_a_newcomer_update_by_a_delta(browser, tmp_path):
    """Two boards from a CSV list and one that nobody announced; then a --public-url of nowhere."""
    with (
        Cloud(tmp_path / "cloud", accept_all=False, back_off=BackOff(0.2, 0.2)) as cloud,
        Client(cloud.api_url, local_token(cloud.folder)) as api,
        page_of(browser) as page,
    ):
        page.on("dialog", lambda dialog: dialog.accept())
        set_up(page, cloud)
        configs = {"shed": settings("shed", cloud.mqtt_port), **listed(page, cloud)}
        boards = {}
        for name, config in configs.items():
            config["retry"] = {"first_s": 0.1, "most_s": 1, "job_tries": 2}
            boards[name] = Board(tmp_path / name, bits=64, mpy=True, config=config)
            boards[name].install()
            boards[name].power_on()
        try:
            page.get_by_role("link", name="Fleet", exact=True).first.click()
            expect(page.get_by_role("heading", name="1 pending device")).to_be_visible()
            page.get_by_role("button", name="Accept all").click()
            expect(page.get_by_role("heading", name="1 pending device")).to_have_count(0)
            for name in boards:
                expect(page.get_by_role("row", name=f"P/{name}")).to_contain_text("0.1")

            api.upload(release(tmp_path, "0.2"))
            for name in boards:
                api.push(f"P/{name}", "0.2")
            wait_for(lambda: {each["state"] for each in api.devices()} == {"done"}, "the updates")
            by_a_delta(page, tmp_path, boards["garage"])
            nobody_asks(page, tmp_path, cloud)
        finally:
            for name, board in boards.items():
                board.stop()
                print(name, *board.log, sep="\n")


def listed(page, cloud):
    """The configurations that the console gives for two devices of a list."""
    page.goto(f"{cloud.api_url}/devices/new")
    page.get_by_label("CSV").fill("product,name,tags\nP,attic,beta\nP,garage,\n")
    with page.expect_download() as given:
        page.get_by_role("button", name="Add devices").click()
    with zipfile.ZipFile(given.value.path()) as archive:
        found = [json.loads(archive.read(name)) for name in archive.namelist()]
    for config in found:
        config.pop("wifi", None)  # a simulated board has its network already
    return {config["device_name"]: config for config in found}


def by_a_delta(page, folder, late):
    """While a campaign runs, the console makes the delta from what its devices run; a board that
    is updated later gets it."""
    late.power_cut()
    upload(page, folder, "0.3")
    page.get_by_role("link", name="Roll out").click()
    page.get_by_label("Devices", exact=False).first.fill("product:P -name:shed")
    page.get_by_label("Additional wait before the next stage").fill("0")
    page.get_by_role("button", name="Review plan").click()
    page.get_by_role("button", name="Start: 2 devices").click()
    expect(page.locator("[data-part=far]")).to_contain_text("1 done")
    page.get_by_role("link", name="Firmware", exact=True).first.click()
    row = page.get_by_role("row", name="0.3 thermometer")
    expect(row).to_contain_text("1, smallest")
    late.power_on()
    page.get_by_role("link", name="Campaigns", exact=True).click()
    page.get_by_role("link", name="thermometer 0.3").click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    page.get_by_role("link", name="Fleet", exact=True).first.click()
    page.get_by_role("button", name="Update to 0.3 P/shed").click()
    page.get_by_role("link", name="P/shed").click()
    expect(page.get_by_text("as a patch of").first).to_be_visible()


def nobody_asks(page, folder, cloud):
    """The cloud says so, and with which URL."""
    upload(page, folder, "0.4")
    cloud.public_url = "http://127.0.0.1:9"
    page.get_by_role("link", name="Fleet", exact=True).click()
    page.get_by_role("button", name="Update to 0.4 P/attic").click()
    page.get_by_role("link", name="P/attic").click()
    expect(
        page.get_by_text("no device has requested the file at http://127.0.0.1:9/files/")
    ).to_be_visible()


HISTORY = """def read(settings):
    # The example that the documents give.
    return settings["every_s"]
"""
CRASHES = "import history\n\ndef main():\n    history.read({})\n"
HANGS = "async def main():\n    while True:\n        pass\n"


def test_boards_say_what_they_are_and_what_a_version_died_of(browser, tmp_path):
    """Two simulated boards of one application, on two revisions of its hardware."""
    with (
        Cloud(tmp_path / "cloud", back_off=BackOff(3600, 3600)) as cloud,
        Client(cloud.api_url, local_token(cloud.folder)) as api,
        page_of(browser) as page,
    ):
        set_up(page, cloud)
        boards = {}
        for name in ("attic", "garage"):
            config = settings(name, cloud.mqtt_port, hardware=f"rev-{name[0]}", watchdog_s=2,
                              trial={"starts": 1})  # fmt: skip
            boards[name] = Board(tmp_path / name, bits=64, mpy=True, config=config)
            boards[name].install()
        try:
            for board in boards.values():
                board.power_on()
            version_of_each(api, tmp_path, "0.2", "def main():\n    pass\n", "done")
            row = page.get_by_role("row", name="P/attic")
            expect(row).to_be_visible(timeout=WAIT_MS)  # the empty page has reloaded itself
            page.goto(f"{cloud.api_url}/?q=hardware:rev-a")
            expect(row).to_contain_text("0.2", timeout=WAIT_MS)
            expect(page.get_by_role("row", name="P/garage")).to_have_count(0)
            row.get_by_role("link").first.click()
            expect(page.locator("[data-part=stands]")).to_contain_text("thermometer")
            expect(page.locator("[data-part=stands]")).to_contain_text("rev-a")

            version_of_each(api, tmp_path, "0.3", CRASHES, "retry", history=HISTORY)
            expect(page.locator("[data-part=stands]")).to_contain_text("KeyError", timeout=WAIT_MS)
            failures(
                page,
                "0.3",
                "KeyError every_s in history.py:3, 2 devices; first seen in version 0.3",
            )
            version_of_each(api, tmp_path, "0.4", HANGS, "retry")
            why = "hung in its trial: the watchdog reset the board, 2 devices; first seen in "
            why += "version 0.4"
            failures(page, "0.4", why)
        finally:
            for name, board in boards.items():
                board.stop()
                print(name, *board.log, sep="\n")


def version_of_each(api, folder, version, app, end, history=None):
    path = release(folder, version, app, history=history)
    api.upload(path)
    names = ("P/attic", "P/garage")
    # Until they have reported once, the cloud does not know them.
    wait_for(lambda: len(api.devices()) == len(names), "the reports")
    for name in names:
        api.push(name, version)
    wait_for(lambda: all(api.device(name)["state"] == end for name in names), end)


def failures(page, version, words):
    page.get_by_role("link", name="Firmware", exact=True).first.click()
    page.get_by_role("link", name=f"{version} thermometer").click()
    expect(page.get_by_role("heading", name="Failures by reason")).to_be_visible()
    expect(page.locator("[data-part=failures]")).to_contain_text(words)


def release(folder, version, app=None, pad_to=None, history=None):
    source = EXAMPLE
    if app:
        source = folder / f"app-{version}"
        source.mkdir()
        (source / "app.py").write_text(app)
        if history:
            (source / "history.py").write_text(history)
    return pack(source, version, out=folder / f"{version}.bin", application="thermometer",
                pad_to=pad_to).path  # fmt: skip


def upload(page, folder, version, app=None, pad_to=None):
    with page.expect_response(lambda answer: "x-live" in answer.request.headers):
        page.get_by_role("link", name="Firmware", exact=True).click()
    # There is a command as long as there is nothing else, and it stays one through a refresh.
    for command in page.locator(".command").all():
        expect(command.get_by_role("button", name="Copy")).to_be_visible()
    page.set_input_files("[type=file]", release(folder, version, app, pad_to))
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name=f"thermometer {version}")).to_be_visible()
    expect(page.get_by_text("app.mpy")).to_be_visible()
    expect(
        page.get_by_text("none; boards that require signatures reject this file")
    ).to_be_visible()


def finished_campaign(page):
    page.get_by_role("link", name="Roll out").click()
    expect(page.get_by_label("Name")).to_have_value("thermometer 0.2")
    page.get_by_label("Devices", exact=False).first.fill("product:P")
    page.get_by_role("button", name="Preview devices").click()
    expect(page.locator("#query-help")).to_contain_text("1 device: P/kitchen")
    page.get_by_label("Additional wait before the next stage").fill("0")
    page.get_by_role("button", name="Review plan").click()
    expect(page.get_by_text("1 device would get thermometer 0.2.")).to_be_visible()
    page.get_by_role("button", name="Start: 1 device").click()
    expect(page.get_by_role("heading", name="thermometer 0.2")).to_be_visible()
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    expect(page.locator("[data-part=far]")).to_contain_text("100 % done")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def failing(page, folder):
    """A click and a yes on the fleet's page; the trial fails, and the page says why, in words."""
    upload(page, folder, "0.3", "def main():\n    raise ValueError('on purpose')\n")
    page.get_by_role("link", name="Fleet", exact=True).click()
    page.get_by_role("button", name="Update to 0.3 P/kitchen").click()
    expect(page.get_by_role("status").filter(has_text="Updating P/kitchen to 0.3")).to_be_visible()
    row = page.get_by_role("row", name="P/kitchen")
    expect(row.get_by_text("failed", exact=True)).to_be_visible()
    expect(row).to_contain_text("ValueError on purpose")
    expect(page.locator("[data-part=aside]")).to_contain_text("1 device")
    row.get_by_role("link").first.click()
    expect(page.get_by_text("rolled back", exact=True)).to_be_visible()
    expect(
        page.get_by_text("trial failed: rolled back to the previous version").first
    ).to_be_visible()
    expect(page.get_by_text("Failed permanently")).to_be_visible()


def cancelled(page, folder, slow, cloud):
    """In mid-download, which a slow link gives time for; no push goes out after it."""
    upload(page, folder, "0.4", pad_to=400_000)
    slow.pace(30_000)
    page.get_by_role("link", name="Fleet", exact=True).click()
    page.get_by_role("link", name="P/kitchen").click()
    expect(page.get_by_label("Firmware").locator("option").first).to_contain_text("0.4")
    page.get_by_role("button", name="Update", exact=True).click()
    bar = page.get_by_role("progressbar", name="Download")
    expect(bar).to_be_visible()
    wait_for(lambda: int(bar.get_attribute("value") or 0) > 0, "progress")
    page.get_by_role("button", name="Cancel update").click()
    expect(page.get_by_text("an operator cancelled the update")).to_be_visible()
    with Client(cloud.api_url, local_token(cloud.folder)) as api:
        pushes = api.device("P/kitchen")["pushes"]
        slow.pace(None)
        # The board ends the download that it has begun: time enough for a push, were one due.
        wait_for(lambda: api.device("P/kitchen")["state"] == "done", "the end of the download")
        assert api.device("P/kitchen")["pushes"] == pushes


def check(page, name):
    """Nothing that axe finds, in light and in dark, where what is about colours is asked again:
    nothing else differs; and nothing wider than the screen."""
    axe = Axe()
    for scheme, options in (("light", None), ("dark", {"runOnly": COLOURS})):
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page, options=options).response
        told = [
            (each["id"], each["impact"], [node["html"][:120] for node in each["nodes"][:3]])
            for each in found["violations"]
        ]
        assert not told, (name, scheme, told)
        assert found["passes"], (name, scheme)
    page.emulate_media(color_scheme="light")
    wide, most = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= most, name


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_nothing_that_axe_finds_and_nothing_wider_than_the_screen(
    browser, shown, signed_in, phone
):
    with page_of(browser, phone) as page:
        for name, address in (("sign-in", f"{shown.url}/sign-in"), ("set-up", shown.set_up),
                              ("wait", shown.set_up.rpartition("/")[0])):  # fmt: skip
            page.goto(address)
            check(page, name)
        sign_in(page, shown.empty)
        check(page, "welcome")
    with signed_in(phone) as page:
        for name, path in shown.pages.items():
            page.goto(shown.url + path)
            for summary in page.locator("summary").all():
                summary.click()
            check(page, name)
        page.goto(shown.url + "/nothing")
        check(page, "nothing")


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_every_way_to_sign_in_and_webhooks(browser, tmp_path, phone):
    """A provider that is down, a second factor from its set-up to its last step, and what an
    admin sees of a webhook that nobody answers."""
    with socket.socket() as nobody:  # bound, and never listening
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        provider = IdentityProvider(gone, "console", "a client secret", {"ops": "admin"})
        with (
            Cloud(
                tmp_path / "c",
                provider=provider, webhooks=[f"{gone}/a"], webhook_secret="0123456789abcdef",
            ) as cloud,
            page_of(browser, phone) as page,
        ):  # fmt: skip
            fill_few(cloud)
            page.goto(f"{cloud.api_url}/sign-in")
            expect(page.get_by_role("link", name="Sign in with 127.0.0.1")).to_be_visible()
            check(page, "sign-in with a provider")
            page.get_by_role("link", name="Sign in with 127.0.0.1").click()
            expect(page.get_by_role("alert")).to_contain_text("cannot be used")
            check(page, "a provider that is down")
            sign_in(page, cloud.api_url)
            page.goto(f"{cloud.api_url}/account/second-factor")
            app = pyotp.TOTP(page.locator("code").first.inner_text())
            page.get_by_label("Your password").fill(PASSWORD)
            page.get_by_label("Code that the app shows").fill("000000")
            page.get_by_role("button", name="Turn on").click()
            check(page, "a wrong code of the set-up")
            page.get_by_label("Your password").fill(PASSWORD)
            page.get_by_label("Code that the app shows").fill(app.now())
            page.get_by_role("button", name="Turn on").click()
            recovery = page.locator("li code").first.inner_text()
            check(page, "recovery codes")
            page.goto(f"{cloud.api_url}/account")
            check(page, "an account with a second factor")
            page.goto(f"{cloud.api_url}/webhooks")
            page.get_by_role("button", name="Send a test message").click()
            expect(page.get_by_text("failed", exact=True)).to_be_visible()
            check(page, "webhooks")
            page.get_by_role("button", name="Sign out").click()
            page.get_by_label("Name").fill(NAME)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_label("Code from your authenticator app")).to_be_focused()
            check(page, "the second factor")
            page.keyboard.type("000000")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
            check(page, "a wrong code")
            page.get_by_label("Code from your authenticator app").fill(recovery)
            page.keyboard.press("Enter")
            expect(page.get_by_role("status").filter(has_text="9 recovery codes")).to_be_visible()
            with cloud.database.writing() as session:
                outbox.note(session, cloud._webhooks, outbox.TEST, {})
                session.flush()
                session.execute(update(WebhookMessage).values(next_at=None, error="HTTP 500"))
            page.goto(f"{cloud.api_url}/webhooks")
            expect(page.get_by_role("button", name="Resend all")).to_be_visible()
            check(page, "a message that was given up")


def test_by_keyboard_alone(browser, shown, monkeypatch):
    """Sign-in, the skip link, a search, a device, a retry: every stop is seen and in order. And
    an action on all devices that match a search, in parts."""
    monkeypatch.setattr("ivota_tools.cloud.pages.fleet.PART", 40)
    with page_of(browser) as page:
        page.goto(f"{shown.url}/sign-in")
        page.keyboard.type(NAME)
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{shown.url}/")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to content")
        assert page.evaluate("getComputedStyle(document.activeElement).left") != "-1280px"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        tab_to(page, "search")
        page.keyboard.type("roof-12b")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=roof-12b*")
        page.locator("table.devices td.name a").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/devices/*")
        tab_to(page, "", "Retry")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        expect(
            page.get_by_role("status").filter(has_text="Retrying the update of")
        ).to_be_visible()
        tag_all_that_match(page, shown)


def tag_all_that_match(page, shown):
    """More than one page of them, with the answer no and then yes to the question."""
    asked = []

    def answer(dialog):
        asked.append(dialog.message)
        if len(asked) == 1:
            dialog.dismiss()
        else:
            dialog.accept()

    page.on("dialog", answer)
    page.goto(f"{shown.url}/?q=version>0&sort=name")
    count = int(page.locator(".pager .quiet").inner_text().split()[0])
    page.get_by_label("Select all devices on this page").focus()
    page.keyboard.press("Space")
    page.get_by_label("Tag", exact=True).focus()
    page.keyboard.press("Shift+Tab")
    focused, picked = page.locator(":focus"), page.locator("[data-picked]")
    expect(focused).to_have_text(f"Select all {count} matching devices")
    page.keyboard.press("Enter")
    expect(picked).to_have_text(f"With {count} selected devices:")
    expect(focused).to_have_text("Clear selection")
    page.keyboard.press("Tab")
    page.keyboard.type("night")
    page.keyboard.press("Enter")
    result = page.locator("[data-result]")
    assert not result.inner_text()
    page.keyboard.press("Enter")
    expect(result).to_have_text(f"Added the tag night to {count} devices.")
    assert asked == [f"Add the tag night to the {count} selected devices?"] * 2
    expect(picked).to_have_text("With the selected devices:")
    expect(page.get_by_role("button", name="Add tag")).to_be_focused()
    page.goto(f"{shown.url}/audit?q=night")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(f"devices: {count}")


def tab_to(page, kind, text=""):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(
            "([kind, text]) => kind ? document.activeElement.type === kind"
            " : document.activeElement.textContent.trim() === text",
            [kind, text],
        ):
            return
    raise AssertionError(f"no Tab leads to {kind or text}")


def test_rows_stay_under_the_pointer_while_they_change(browser, tmp_path):
    """A device that fails belongs first; it gets there once the pointer has left the table."""
    with Cloud(tmp_path / "c") as cloud, page_of(browser) as page:
        fill_few(cloud)
        sign_in(page, cloud.api_url)
        names = page.locator("table.devices td.name a")
        before = names.all_inner_texts()
        row = page.get_by_role("row", name=before[-1])
        row.hover()
        box = row.bounding_box()
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            last = api.device(before[-1].replace("\n", ""))
            api.push(last["device"], "0.2")
        expect(row).to_contain_text("→ 0.2")
        assert names.all_inner_texts() == before and row.bounding_box() == box
        page.mouse.move(0, 0)
        with Client(cloud.api_url, local_token(cloud.folder)) as api:
            api.tag(last["id"], ["moved"])
        wait_for(lambda: names.all_inner_texts()[0] == before[-1], "the move")


def test_a_lost_link_is_said_and_found_again(browser, tmp_path):
    with page_of(browser) as page:
        with Cloud(tmp_path / "c") as cloud:
            fill_few(cloud)
            port, mqtt = cloud.http_port, cloud.mqtt_port
            sign_in(page, cloud.api_url)
            state = page.locator("[data-link]")
            expect(state).to_have_text("live")
        expect(state).to_have_text("offline")
        with Cloud(tmp_path / "c", http_port=port, mqtt_port=mqtt) as cloud:
            expect(state).to_have_text("live")
            with cloud.database.writing() as session:
                session.get(Device, 1).version = "9.9"
            with Client(cloud.api_url, local_token(cloud.folder)) as api:
                api.tag(1, ["back"])
            expect(page.get_by_role("row", name="9.9")).to_be_visible()


def test_a_silent_link_is_said_and_found_again(browser, tmp_path):
    """Nothing is cut: nothing comes any more, which no browser sees by itself."""
    with (
        Cloud(tmp_path / "c") as cloud,
        Proxy("127.0.0.1", cloud.http_port) as link,
        page_of(browser) as page,
    ):
        fill_few(cloud)
        page.clock.install()
        sign_in(page, f"http://127.0.0.1:{link.port}")
        state = page.locator("[data-link]")
        expect(state).to_have_text("live")
        link.stall()
        page.clock.fast_forward(60_000)
        expect(state).to_have_text("offline")
        link.resume()
        expect(state).to_have_text("live")


def test_a_stream_that_a_proxy_refused_is_asked_for_again(browser, tmp_path):
    with Cloud(tmp_path / "c") as cloud, page_of(browser) as page:
        fill_few(cloud)
        page.route("**/live", lambda route: route.fulfill(status=502))
        sign_in(page, cloud.api_url)
        state = page.locator("[data-link]")
        expect(state).to_have_text("offline")
        page.unroute("**/live")
        expect(state).to_have_text("live")


def test_a_wrong_file_and_a_lost_upload_are_said(signed_in, shown, tmp_path):
    broken = tmp_path / "broken.bin"
    with signed_in() as page:
        page.goto(shown.url + "/firmware")
        broken.write_bytes(release(tmp_path, "0.9").read_bytes()[:-3000])
        page.set_input_files("[type=file]", broken)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert").filter(has_text="damaged")).to_be_visible()
        broken.write_bytes(b"anything")
        page.set_input_files("[type=file]", broken)
        page.get_by_role("button", name="Upload").click()
        expect(
            page.get_by_role("alert").filter(has_text="does not contain its version")
        ).to_be_visible()
        page.route("**/api/v1/firmware*", lambda route: route.abort())
        page.get_by_role("button", name="Upload").click()
        expect(
            page.get_by_role("alert").filter(has_text="The connection was lost")
        ).to_be_visible()


def test_a_dropped_file_has_a_bar_and_its_long_version_a_warning(browser, tmp_path):
    """Over a slow link, as seen from the browser; the bar is there and grows."""
    version = "0.9-with-a-name-that-is-long"
    file = release(tmp_path, version, pad_to=400_000)
    with Cloud(tmp_path / "c") as cloud, page_of(browser) as page:
        fill_few(cloud)
        sign_in(page, cloud.api_url)
        page.goto(cloud.api_url + "/firmware")
        page.evaluate(
            """([name, text]) => {
              const dragged = new DataTransfer();
              const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
              dragged.items.add(new File([bytes], name));
              const drop = new DragEvent("drop", {dataTransfer: dragged, cancelable: true});
              document.querySelector("[data-upload]").dispatchEvent(drop);
            }""",
            [file.name, base64.b64encode(file.read_bytes()).decode()],
        )
        expect(page.get_by_text("400 kB")).to_be_visible()
        slow = page.context.new_cdp_session(page)
        slow.send("Network.enable")
        slow.send("Network.emulateNetworkConditions", {
            "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 150_000,
        })  # fmt: skip
        page.get_by_role("button", name="Upload").click()
        bar = page.get_by_role("progressbar", name="Upload")
        expect(bar).to_be_visible()
        seen = set()
        while page.url.endswith("/firmware") and len(seen) < 3:
            seen.add(bar.get_attribute("value") if bar.is_visible() else None)
        assert len(seen) == 3, seen
        expect(page.get_by_role("heading", name=f"thermometer {version}")).to_be_visible()
        expect(page.get_by_text("some platforms limit file names")).to_be_visible()


def test_without_javascript_all_but_the_upload_works(browser, shown):
    with page_of(browser, javascript=False) as page:
        sign_in(page, shown.url)
        page.goto(f"{shown.url}/devices/{shown.scene.device}")
        page.get_by_label("Tags").fill("beta, plain")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").filter(has_text="now has 2 tags")).to_be_visible()
        # Rows are selected, and sorted by what their column says.
        page.goto(f"{shown.url}/?sort=name")
        page.locator("th.c-name a").click()
        page.wait_for_url("**/?sort=-name")
        for box in page.locator("td.pick input").all()[:2]:
            box.check()
        page.get_by_label("Tag", exact=True).fill("picked")
        page.get_by_role("button", name="Add tag").click()
        expect(page.get_by_role("status").filter(has_text="picked to 2 devices")).to_be_visible()
        page.goto(f"{shown.url}/firmware")
        expect(page.get_by_text("Uploading here requires JavaScript")).to_be_visible()


def test_signing_out_elsewhere_ends_an_open_page(browser, shown, signed_in, monkeypatch):
    monkeypatch.setattr(live_events, "CHECK_S", 0.2)
    with signed_in() as page, signed_in() as other:
        expect(page.locator("[data-link].on")).to_be_visible()
        other.goto(f"{shown.url}/account")
        other.get_by_role("button", name="Sign out everywhere").click()
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
