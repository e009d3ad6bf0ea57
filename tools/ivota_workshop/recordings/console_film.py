"""Film the console's page of the demo's board while the demo runs: light and dark."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue

from PIL import Image
from playwright.sync_api import Browser, Page

from ivota_tools.cloud.accounts.users import create
from ivota_tools.demo.stage import Stage

from ..screenshots.browser import browser, context, sign_in
from ..screenshots.consoles import NAME, PASSWORD

WIDTH, HEIGHT = 1280, 960  # CSS pixels, scaled down later
SMALL = (WIDTH * 3 // 4, HEIGHT * 3 // 4)
EVERY_S = 0.3
LAST_S = 1.5  # until the page shows the last event
STARTS_S = 60.0

Frames = list[tuple[float, Image.Image]]  # with the time at which each picture first appeared


class ConsoleFilm:
    """Within `with ConsoleFilm() as film:`, use `watch=film.of`; afterwards `film.frames` has the
    pictures.

    The browser starts before the demo, in a separate thread, so that the demo does not wait.
    """

    def __init__(self) -> None:
        self.frames: dict[bool, Frames] = {False: [], True: []}
        self._stages: Queue[Stage | None] = Queue()
        self._over = threading.Event()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> ConsoleFilm:
        self._thread.start()
        self._ready.wait(STARTS_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @contextmanager
    def of(self, stage: Stage) -> Iterator[None]:
        """Film the page of the stage's board for the duration of the block."""
        with stage.cloud.database.writing() as session:
            create(session, NAME, PASSWORD, "admin", time.time(), NAME)
        self._stages.put(stage)
        try:
            yield
        finally:
            self._end()
        if self._error:
            raise self._error

    def _end(self) -> None:
        self._over.set()
        self._stages.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            with browser() as running:
                self._ready.set()
                stage = self._stages.get()
                if stage:
                    self._film(running, stage)
        except BaseException as error:  # pass it to the thread that waits for this one
            self._error = error
        finally:
            self._ready.set()

    def _film(self, running: Browser, stage: Stage) -> None:
        with ExitStack() as ends:
            pages: dict[bool, Page] = {}
            for dark in self.frames:
                page = ends.enter_context(context(running, dark, False)).new_page()
                page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
                sign_in(page, stage.cloud.api_url)
                pages[dark] = page
            while not stage.known():
                if self._over.wait(0.05):
                    return
            for page in pages.values():
                page.goto(f"{stage.cloud.api_url}/devices/{stage.device['id']}")
            seen: dict[bool, bytes] = {}
            last = False
            while not last:
                if last := self._over.wait(EVERY_S):
                    time.sleep(LAST_S)
                for dark, page in pages.items():
                    picture = page.screenshot()
                    if picture != seen.get(dark):
                        seen[dark] = picture
                        image = Image.open(io.BytesIO(picture)).convert("RGB")
                        small = image.resize(SMALL, Image.Resampling.LANCZOS)
                        self.frames[dark].append((time.monotonic(), small))
