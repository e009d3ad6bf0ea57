"""Take a picture of every page: light and dark, on a desktop and on a phone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from ivota_tools.common.project_files import CHECKOUT

from .browser import DESK, PHONE, browser, context, sign_in
from .consoles import Shown, consoles
from .outside import PAGES

FOLDER = CHECKOUT / "docs" / "images" / "console"
COLOURS = 256
TALLEST = {DESK: 1500, PHONE: 1700}  # CSS pixels; a longer page is cropped there


def take(folder: Path = FOLDER, only: str = "") -> Iterator[Path]:
    """Take all pictures, or those whose name starts with `only`; yield each file when written."""
    folder.mkdir(parents=True, exist_ok=True)
    with consoles() as shown, browser() as running:
        for dark in (False, True):
            for size in (DESK, PHONE):
                end = ("-phone" if size == PHONE else "") + ("-dark" if dark else "") + ".png"
                # Separate browser contexts: a cookie belongs to a host, whatever the port.
                for visit in (_new, _outside, _full):
                    with context(running, dark, size == PHONE) as opened:
                        page = opened.new_page()
                        for name, address in visit(page, shown):
                            if (name + end).startswith(only):
                                yield _shoot(page, address, folder / (name + end), size)


def _new(page: Page, shown: Shown) -> Iterator[tuple[str, str]]:
    """Return names and addresses of the pages that a new user sees."""
    yield "set-up", shown.set_up
    sign_in(page, shown.empty)
    yield "welcome", f"{shown.empty}/"


def _outside(page: Page, shown: Shown) -> Iterator[tuple[str, str]]:
    sign_in(page, shown.outside)
    for name, path in PAGES.items():
        yield name, shown.outside + path


def _full(page: Page, shown: Shown) -> Iterator[tuple[str, str]]:
    yield "sign-in", f"{shown.url}/sign-in"
    sign_in(page, shown.url)
    for name, path in shown.pages.items():
        yield name, shown.url + path


def _shoot(page: Page, address: str, place: Path, size: tuple[int, int]) -> Path:
    answer = page.goto(address)
    assert answer and answer.ok, f"{address} is answered with {answer and answer.status}"
    page.wait_for_function("document.fonts.ready.then(() => true)")
    page.mouse.move(0, 0)
    if page.locator("[data-link]").count() and page.locator("body[data-live]").count():
        page.locator("[data-link].on").wait_for()
    width, height = size
    tall = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST[size])
    page.set_viewport_size({"width": width, "height": tall})
    picture = Image.open(io.BytesIO(page.screenshot()))
    page.set_viewport_size({"width": width, "height": height})
    small = picture.convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
    small.save(place, optimize=True)
    return place
