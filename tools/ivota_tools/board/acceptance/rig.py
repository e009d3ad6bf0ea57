"""The environment of the steps: a cloud behind a faulty link, keys, releases, the board."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ivota_tools.api_client import ApiError, Client
from ivota_tools.board.acceptance.console import Console
from ivota_tools.board.acceptance.resets import Resets
from ivota_tools.board.acceptance.results import Failed
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.firmware.release import Release, Signer, pack
from ivota_tools.firmware.signing_keys import generate, load_private
from ivota_tools.sim import Proxy

PRODUCT, NAME = "TEST", "board"
APPLICATION = "board-test"
FOLDER = "/ivota-test"
PUBLIC_KEY = "/ivota-test.pub"
SEQUENCE = 1000  # of the first release, so that a release can be signed with a lower number

# Keep only the network sections of the board's own configuration.
NETWORK = ("wifi", "lan", "ppp", "network", "hostname")

_POLL_S = 0.2
TRIAL_LIMIT_S = 180


class Rig:
    """`with Rig(folder, …) as rig: …`; it stops everything that it starts.

    The board reaches this computer at `address`. Only the two ends of the link listen there; the
    cloud behind them accepts orders only from this process.
    """

    def __init__(
        self,
        folder: Path,
        board: Mpremote,
        console: Console,
        resets: Resets,
        address: str,
        step_s: float,
    ) -> None:
        self.folder = folder
        self.board = board
        self.console = console
        self.resets = resets
        self.address = address
        self.network: dict[str, Any] = {}  # sections of the configuration
        self.step_s = step_s
        self.found: dict[str, Any] = {}  # the first step's description of the board
        self.put: list[tuple[Path, str]] = []  # files of the host, and their paths on the board
        self.image: Path | None = None
        self.image_version: str | None = None
        self.running: Release | None = None  # the last release that was confirmed
        self.filled_size: int | None = None  # size of a release for tests of the link
        self._number = 0
        self._sequence = SEQUENCE
        self._ends = ExitStack()

    def __enter__(self) -> Rig:
        with self._ends:
            public = generate(self.folder / "owner.key", None)
            self.public_key = public.read_bytes()
            self._key = load_private(self.folder / "owner.key", str)
            token = secrets.token_urlsafe(32)
            self.cloud = self._ends.enter_context(
                Cloud(self.folder / "cloud", token=token, back_off=BackOff(3600, 3600))
            )
            # A host that an emulated network knows under another address listens on all addresses.
            host = self.address if self.address.startswith("127.") else "0.0.0.0"
            self.http = self._ends.enter_context(
                Proxy("127.0.0.1", self.cloud.http_port, listen_host=host)
            )
            self.mqtt = self._ends.enter_context(
                Proxy("127.0.0.1", self.cloud.mqtt_port, listen_host=host)
            )
            self.cloud.public_url = f"http://{self.address}:{self.http.port}"
            self.api = self._ends.enter_context(Client(self.cloud.api_url, token))
            self._ends = self._ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def settings(self) -> dict[str, Any]:
        """Return the board's configuration for the test: its own network, this cloud, this key."""
        return {
            **self.network,
            "product_id": PRODUCT,
            "device_name": NAME,
            "version": "0",
            "mqtt": {"host": self.address, "port": self.mqtt.port},
            "http": {"timeout_s": 10, "deadline_s": 12},
            "keys": [PUBLIC_KEY],
            "firmware_dir": FOLDER,
            "report_interval_s": 30,
            "retry": {"first_s": 1, "most_s": 5, "rest_most_s": 30},
            "trial": {"starts": 2, "limit_s": TRIAL_LIMIT_S},
        }

    # --- the board

    def ask(self, function: Callable[..., Any], *, resume: bool = True, **arguments: Any) -> Any:
        """Call a function on the board, which stops the running program."""
        with self.console.released():
            return self.board.ask(function, resume=resume, **arguments)

    def restart(self) -> None:
        """Make the board reset itself, after a call."""
        with self.console.released():
            self.board.reset()

    # --- releases

    def next_version(self, word: str) -> str:
        self._number += 1
        return f"test-{self._number}-{word}"

    def signer(self, sequence: int | None = None) -> Signer:
        """Return the owner's signer, with the next sequence unless one is given."""
        if sequence is None:
            self._sequence += 1
            sequence = self._sequence
        return Signer(self._key, sequence)

    def pack(
        self, source: Path, version: str, *, signer: Signer | None, size: int | None = None
    ) -> Release:
        out = self.folder / f"{version}.bin"
        return pack(source, version, out=out, application=APPLICATION, pad_to=size, signer=signer)

    # --- the cloud

    @property
    def device(self) -> dict[str, Any]:
        """Return the board as the cloud knows it, empty before its first report."""
        try:
            found: dict[str, Any] = self.api.device(f"{PRODUCT}/{NAME}")
        except ApiError:
            return {}
        return found

    @property
    def version(self) -> str | None:
        return self.device.get("version")

    def push(self, version: str) -> float:
        """Push that version to the board; return the time from which its reports count."""
        begun = time.time()
        self.api.push(f"{PRODUCT}/{NAME}", version)
        return begun

    def update(self, release: Release, *others: Release) -> None:
        """Upload, push, and wait until the board runs it and the cloud has its `done`."""
        for each in (release, *others):
            self.api.upload(each.path)
        assert release.version
        self.finish(release, self.push(release.version))

    def finish(self, release: Release, begun: float) -> None:
        """Wait for the end of a pushed update; raises Failed."""
        assert release.version
        report = self.wait_end(release.version, begun)
        if report["state"] != "done":
            raise Failed(f"the board reported {_words(report)}")
        self.wait_version(release.version)
        self.running = release

    def expect_rejection(self, release: Release) -> str:
        """Push firmware that the board must reject without starting it; return its report."""
        self.api.upload(release.path)
        before = self.version
        assert release.version
        said = self._words_of_failure(release.version, self.push(release.version))
        if self.version != before:
            raise Failed(
                f"{before} was running, but now {self.version} is running; reported: {said}"
            )
        return said

    def expect_rollback(self, release: Release) -> str:
        """Push a version that must fail, and wait for the rollback; return the report."""
        self.api.upload(release.path)
        before = self.version
        assert release.version and before
        return self.wait_rollback(release.version, self.push(release.version), before)

    def wait_rollback(self, version: str, begun: float, before: str) -> str:
        """Wait until the board has reported a failed update and runs `before` again."""
        said = self._words_of_failure(version, begun)
        self.wait_report(
            lambda each: each["kind"] == "report_version" and each["version"] == before,
            begun,
            f"a report that version {before} is running again",
        )
        return said

    def _words_of_failure(self, version: str, begun: float) -> str:
        report = self.wait_end(version, begun)
        if report["state"] != "fail":
            raise Failed(f"the board reported {_words(report)} instead of a failure")
        self.cancel()
        return _words(report)

    def wait_end(self, version: str, begun: float) -> dict[str, Any]:
        """Wait for the board's final report of an update, and return it."""
        return self.wait_report(
            lambda each: (
                each["kind"] == "report_progress"
                and each["version"] == version
                and each["state"] in ("done", "fail")
            ),
            begun,
            f"the result of the update to {version}",
        )

    def wait_version(self, version: str) -> None:
        self.wait(lambda: self.version == version, f"a report that version {version} is running")

    def wait_report(
        self, fits: Callable[[dict[str, Any]], bool], after: float, what: str
    ) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            device = self.device
            reports = self.api.reports(device["id"]) if device else []
            return next((each for each in reports if each["at"] >= after and fits(each)), None)

        report: dict[str, Any] = self.wait(found, what)
        return report

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for an action of the board. Raises Failed after a step's time limit."""
        end = time.monotonic() + self.step_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Failed(f"timed out after {self.step_s:g} s waiting for {what}")
            self.cloud.wait(_POLL_S)

    def cancel(self) -> None:
        """Make the cloud push nothing more to the board."""
        with contextlib.suppress(ApiError):
            device = self.device
            if device:
                self.api.cancel_device(device["id"])

    def settle(self) -> None:
        """Prepare the next step: a link without faults, and no unfinished update."""
        for link in (self.http, self.mqtt):
            link.schedule(())
            link.pace(None)
            link.resume()
            link.accept()
        self.cancel()

    def log(self, text: str) -> list[dict[str, Any]]:
        """Return the complete lines of the application's log."""
        found = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    found.append(entry)
        return found


def _words(report: dict[str, Any]) -> str:
    code, why = report["result_code"], report["result_msg"]
    return f"{report['state']} {code or ''} {why or ''}".strip()
