"""Chromium, driven by Playwright, for the browser tests and for screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ivota_tools.toolchain import chromium

from .consoles import NAME, PASSWORD

DESK, PHONE = (1280, 860), (390, 844)  # CSS pixels


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium, installed or fetched. Raises ToolchainError."""
    path = chromium()
    with sync_playwright() as playwright:
        # Without its sandbox, which root cannot use: it only opens our own pages.
        running = playwright.chromium.launch(
            executable_path=str(path), chromium_sandbox=False, args=["--disable-gpu"]
        )
        try:
            yield running
        finally:
            running.close()


@contextmanager
def context(
    running: Browser, dark: bool, phone: bool, javascript: bool = True
) -> Iterator[BrowserContext]:
    """Provide a separate browser context, without cookies."""
    width, height = PHONE if phone else DESK
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


def sign_in(page: Page, url: str, name: str = NAME, password: str = PASSWORD) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")
