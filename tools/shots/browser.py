"""Chromium as Playwright drives it, for the browser tests and for screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from ..toolchain import chromium


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless one of this machine, or one that is fetched. Raises ToolchainError."""
    path = chromium()
    with sync_playwright() as playwright:
        # Without its sandbox, as for root it must be: it only ever sees pages of our own.
        running = playwright.chromium.launch(
            executable_path=str(path), chromium_sandbox=False, args=["--disable-gpu"]
        )
        try:
            yield running
        finally:
            running.close()
