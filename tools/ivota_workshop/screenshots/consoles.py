"""Consoles for screenshots: with a sample fleet, without a device, without a user."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.accounts.users import create

from . import scene
from .outside import outside
from .releases import upload

NAME, PASSWORD = "maria", "a sentence is good"


@dataclass(frozen=True)
class Shown:
    """A console with a fleet. `empty` is the address of one without a device, `set_up` the set-up
    link of one without a user, and `outside` the address of one with a webhook and a channel.
    """

    url: str
    empty: str
    set_up: str
    outside: str
    scene: scene.Scene

    @property
    def pages(self) -> dict[str, str]:
        """Return name → address of every page that a signed-in user can see."""
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
    """Serve the consoles for the duration of the block."""
    with tempfile.TemporaryDirectory(prefix="ivota-shots-") as name:
        folder = Path(name)
        with (
            Cloud(folder / "full") as full,
            Cloud(folder / "empty") as empty,
            Cloud(folder / "new") as new,
            outside(folder, NAME, PASSWORD) as outside_url,
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
            firmware = upload(folder / "made", full.api_url, token)
            made = scene.fill(database, firmware, time.time())
            yield Shown(full.api_url, empty.api_url, set_up, outside_url, made)
