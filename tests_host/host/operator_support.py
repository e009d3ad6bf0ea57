"""One cloud, and the three ways an operator has to it: API, commands and pages."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from cloud_support import Device
from pages_support import Visitor, let_in
from typer.testing import CliRunner

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cli import app
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.store import models

SECRET = "MDEyMzQ1Njc4OWFiY2RlZg=="


class Console:
    """One cloud, and three ways to it: `api`, `ivota(…)` and `page`."""

    def __init__(self, cloud):
        self.cloud, self.url = cloud, cloud.api_url
        self.token = local_token(cloud.folder)
        let_in(cloud, "operator")
        self.api = Client(self.url, self.token)
        self.page = Visitor(self.url, "operator")
        self._devices = ExitStack()

    def close(self):
        self._devices.close()
        self.page.http.close()
        self.api._http.close()

    def ivota(self, *words, code=0, given=None, **variables):
        env = {"IVOTA_URL": self.url, "IVOTA_TOKEN": self.token, "COLUMNS": "200", **variables}
        done = CliRunner(env=env).invoke(app.app, [str(word) for word in words], input=given)
        assert done.exit_code == code, (done.output, done.exception)
        return " ".join(done.output.split())

    def device(self, name, version="0.1"):
        found = self._devices.enter_context(Device(self.cloud.mqtt_port, "P", name))
        found.hello(version)
        return found

    def add(self, names, **columns):
        """Devices that are not connected."""
        with self.cloud.database.writing() as session:
            session.add_all(
                models.Device(
                    product_id="P",
                    device_name=name,
                    **{"version": "0.1", "first_seen": 1.0, "last_seen": 2.0, **columns},
                )
                for name in names
            )

    def upload(self, version, application=None, data=b"firmware", **more):
        path = self.cloud.folder / "upload.bin"
        path.write_bytes(data * 100)
        return self.api.upload(path, version, application, **more)["firmware"]

    def refused(self, words, call, *given, **order):
        with pytest.raises(ApiError, match=words):
            call(*given, **order)


def form(console, firmware, **changes):
    """What a browser sends from the form of a new campaign, with some fields changed."""
    console.page.get("/campaigns/new")
    return console.page.fields("/campaigns/new", firmware=str(firmware), **changes)


def mark(console):
    """The mark of the plan that the page shows."""
    return console.page.fields("/campaigns/new", "plan")["plan"]
