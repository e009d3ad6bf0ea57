"""A cloud behind a bad link, on which boards run whole updates one after another."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.common import project_files
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board, Cut, Proxy

SIZE = 708_482  # bytes, like the vendor's own example
VERSION = "0.2"
TIMEOUT_S = 120.0

# However the board handles an error: in a large enough heap there is none.
_WRONG = re.compile(
    r"MemoryError|memory allocation|no_heap|Traceback|ivota: failed|sim: (?!heap|reset)"
)
_APP = b"def main():\n    pass\n"


@dataclass(frozen=True)
class Outcome:
    """The result of an update: `wrong` is the problem, "" if there was none.

    `received` counts the bytes sent to the board over the link, `cuts` the cuts of the link.
    """

    wrong: str
    log: list[str]
    received: int
    cuts: int


class Lane:
    """Made by `lane()`. `proxy` is the link between the board and the files, not the broker.

    A subclass may replace the cloud by something else that offers the firmware.
    """

    def __init__(self, folder: Path, cloud: Cloud, proxy: Proxy, api: Client) -> None:
        self.proxy = proxy
        self._folder, self._cloud, self._api = folder, cloud, api
        self._number = 0

    def upload(self, firmware: Path) -> None:
        """Add a file that the cloud can offer."""
        self._api.upload(firmware)

    def update(
        self,
        cuts: Iterable[Cut] = (),
        *,
        heap: int | None = None,
        files: Mapping[str, bytes | Path] | None = None,
        config: Mapping[str, Any] | None = None,
        patience_s: float | None = None,
    ) -> Outcome:
        """Run a whole update of a new board, from its push to its `done`.

        `heap` is in bytes; `config` is added to the configuration of host and name. With
        `patience_s`, only `done` or the time limit ends the update.
        """
        self._number += 1
        name = f"d{self._number:05}"
        proxy = self.proxy
        received, so_many = proxy.received, len(proxy.cuts)
        proxy.schedule(cuts)
        self.offer(name)
        board = Board(
            self._folder / name,
            heap=str(heap) if heap else None,
            mpy=True,
            fs="host",
            files=files,
            config={
                "product_id": "P",
                "device_name": name,
                **self.source(),
                **(config or {}),
            },
        )
        board.install()
        with board:
            board.power_on()
            wrong = self._watch(board, name, patience_s)
        shutil.rmtree(board.folder)
        return Outcome(wrong, board.log, proxy.received - received, len(proxy.cuts) - so_many)

    def offer(self, name: str) -> None:
        """Offer the firmware to the board with this name."""
        self._api.push(f"P/{name}", VERSION, new=True)

    def source(self) -> dict[str, Any]:
        """Return the configuration that tells the board where firmware comes from."""
        return {"mqtt": {"host": "127.0.0.1", "port": self._cloud.mqtt_port}}

    def ended(self, board: Board, name: str) -> str | None:
        """Return "" after a `done`, a text after a failure, and None before either."""
        device = self._api.device(f"P/{name}")
        if device["state"] == "failed":
            return f"fail {device['result_code']}: {device['result_msg']}"
        return "" if device["state"] == "done" else None

    def _watch(self, board: Board, name: str, patience_s: float | None) -> str:
        """Wait for `done`; return the problem, or "" if there was none."""
        limit_s = TIMEOUT_S if patience_s is None else patience_s
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if patience_s is not None:
                if self.ended(board, name) == "":
                    return ""
                time.sleep(0.1)
                continue
            # main.py ends before the first restart only if it fails.
            lost = board.resets > 1 or not board.resets and "REPL" in board.log
            for line in list(board.log):
                if _WRONG.search(line):
                    return line
            if lost:
                return "the board stopped or was reset"
            ended = self.ended(board, name)
            if ended is not None:
                return ended
            time.sleep(0.1)
        return f"not within {limit_s:g} s"


@contextmanager
def lane(folder: Path, firmware: Path, buffer: int | None = None) -> Iterator[Lane]:
    """Provide a lane; `buffer` is the size of the link's own buffers, in bytes."""
    with (
        Cloud(folder / "cloud") as cloud,
        Proxy("127.0.0.1", cloud.http_port, buffer=buffer) as proxy,
        Client(cloud.api_url) as api,
    ):
        cloud.public_url = f"http://127.0.0.1:{proxy.port}"
        api.upload(firmware)
        yield Lane(folder, cloud, proxy, api)


def make_application(folder: Path, size: int) -> Path:
    """Write a bundle of exactly `size` bytes, of an application alone."""
    source = folder / "alone"
    source.mkdir()
    (source / "app.py").write_bytes(_APP)
    out = folder / f"{VERSION}.bin"
    pack(source, VERSION, out=out, pad_to=size, updater_min=project_files.version())
    return out


def make_firmware(folder: Path, size: int = SIZE) -> Path:
    """Write a bundle of exactly `size` bytes, with an application that does nothing."""
    source = folder / "minimal"
    (source / "lib" / "ivota").mkdir(parents=True)
    (source / "app.py").write_bytes(_APP)
    library = CHECKOUT / "lib"
    for path in [library / "bundlefs.py", *sorted((library / "ivota").glob("*.py"))]:
        place = source / path.relative_to(CHECKOUT).with_suffix(".mpy")
        place.write_bytes(compile_mpy(path.read_bytes(), str(path.relative_to(CHECKOUT))))
    out = folder / f"{VERSION}.bin"
    pack(source, VERSION, out=out, pad_to=size)
    return out
