"""Takes every page's picture: light and dark, on a desk and on a phone."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from ..client_api import Client
from ..cloud import Cloud
from ..cloud.access import local_token
from ..cloud.models import Device, Firmware
from ..cloud.users import create
from ..tree import CHECKOUT
from . import scene
from .browser import browser

FOLDER = CHECKOUT / "docs" / "images" / "console"
NAME, PASSWORD = "maria", "a sentence is good"
COLOURS = 256
SIZES = {"": (1280, 860), "-phone": (390, 844)}
TALLEST = {"": 1500, "-phone": 1700}  # CSS pixels; a longer page is cut off there


@dataclass(frozen=True)
class Shown:
    """A console with a fleet in it. `empty` is the address of one without a device, `set_up` the
    set-up link of one without a user.
    """

    url: str
    empty: str
    set_up: str
    scene: scene.Scene

    @property
    def pages(self) -> dict[str, str]:
        """Name → address of every page that somebody who is signed in can see."""
        return {
            "fleet": "/",
            "device": f"/devices/{self.scene.device}",
            "device-failed": f"/devices/{self.scene.failed}",
            "device-new": "/devices/new",
            "reports": f"/devices/{self.scene.device}/reports",
            "firmware": "/firmware",
            "firmware-one": f"/firmware/{self.scene.firmware}",
            "campaigns": "/campaigns",
            "campaign": f"/campaigns/{self.scene.campaign}",
            "campaign-stopped": f"/campaigns/{self.scene.stopped}",
            "groups": "/campaigns/groups?name=beta&query=tag:beta+seen%3C1d",
            "campaign-new": "/campaigns/new?name=Winter+release&query=version%3C0.3",
            "audit": "/audit",
            "people": "/people",
            "account": "/account",
        }


@contextmanager
def consoles() -> Iterator[Shown]:
    """Both are served as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="ivota-shots-") as name:
        folder = Path(name)
        with (
            Cloud(folder / "full") as full,
            Cloud(folder / "empty") as empty,
            Cloud(folder / "new") as new,
        ):
            set_up = new.set_up_url
            assert set_up
            with empty.database.writing() as session:
                create(session, NAME, PASSWORD, "admin", time.time(), NAME)
            database = full.database
            with database.writing() as session:
                for user, role in (
                    (NAME, "admin"),
                    ("tom", "operator"),
                    ("wall-display", "viewer"),
                ):
                    create(session, user, PASSWORD, role, time.time() - 20 * scene.DAY, NAME)
            token = local_token(full.folder)
            with Client(full.api_url, token) as client:
                client.create_token("build server", "operator")
                client.create_token("dashboard", "viewer")
            firmware = scene.upload(folder / "made", full.api_url, token)
            made = scene.fill(database, firmware, time.time())
            yield Shown(full.api_url, empty.api_url, set_up, made)


@contextmanager
def context(
    running: Browser, dark: bool, phone: bool, javascript: bool = True
) -> Iterator[BrowserContext]:
    width, height = SIZES["-phone" if phone else ""]
    made = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        has_touch=phone,
        java_script_enabled=javascript,
        timezone_id="UTC",
        locale="en-GB",
    )
    try:
        yield made
    finally:
        made.close()


def fill_few(cloud: Cloud) -> None:
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


def sign_in(page: Page, url: str, name: str = NAME, password: str = PASSWORD) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")


def take(folder: Path = FOLDER, only: str = "") -> Iterator[Path]:
    """Every picture, or those whose name begins with `only`; each file when it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    with consoles() as shown, browser() as running:
        for dark in (False, True):
            for phone in (False, True):
                end = ("-phone" if phone else "") + ("-dark" if dark else "")
                with context(running, dark, phone) as opened:
                    page = opened.new_page()
                    yield from _shoot(page, shown.set_up, folder / f"set-up{end}.png", phone, only)
                    sign_in(page, shown.empty)
                    address = f"{shown.empty}/"
                    yield from _shoot(page, address, folder / f"welcome{end}.png", phone, only)
                with context(running, dark, phone) as opened:
                    page = opened.new_page()
                    address = f"{shown.url}/sign-in"
                    yield from _shoot(page, address, folder / f"sign-in{end}.png", phone, only)
                    sign_in(page, shown.url)
                    for name, path in shown.pages.items():
                        place = folder / f"{name}{end}.png"
                        yield from _shoot(page, shown.url + path, place, phone, only)


def _shoot(page: Page, address: str, place: Path, phone: bool, only: str) -> Iterator[Path]:
    if not place.name.startswith(only):
        return
    page.goto(address)
    page.wait_for_function("document.fonts.ready.then(() => true)")
    page.mouse.move(0, 0)
    if page.locator("[data-link]").count() and page.locator("body[data-live]").count():
        page.locator("[data-link].on").wait_for()
    height = page.evaluate("document.documentElement.scrollHeight")
    width, least = SIZES["-phone" if phone else ""]
    size = {"width": width, "height": min(max(height, 300), TALLEST["-phone" if phone else ""])}
    if height < least:
        size["height"] = least if not phone else max(height, 600)
    page.set_viewport_size({"width": width, "height": size["height"]})
    picture = Image.open(io.BytesIO(page.screenshot()))
    page.set_viewport_size({"width": width, "height": least})
    small = picture.convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
    small.save(place, optimize=True)
    yield place
