"""A cloud with DDI, and a scripted device that speaks it, for the cases in ddi_cases.py."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, update

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.ddi.controller_routes import Setting
from ivota_tools.cloud.rollout.assignment_states import BackOff
from ivota_tools.cloud.store.models import Assignment, Device

WAIT_S = 60.0
TENANT = "gateways"
Json = dict[str, Any]


class Unexpected(Exception):
    """The cloud, or the device, did not do what a case expects."""


@dataclass
class Stage:
    cloud: Cloud
    api: Client
    folder: Path
    token: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    @contextlib.contextmanager
    def open(cls, **options: Any) -> Iterator[Stage]:
        """Open a stage; `options` are the arguments of `Cloud`."""
        options = {"back_off": BackOff(3600), "ddi": Setting(TENANT, 1), **options}
        with tempfile.TemporaryDirectory(prefix="ivota-ddi-") as name:
            folder = Path(name)
            with (
                Cloud(folder / "cloud", **options) as cloud,
                Client(cloud.api_url) as api,
            ):
                token = str(api.create_ddi_token("gateway")["token"])
                yield cls(cloud, api, folder, token)

    def new_name(self) -> str:
        return f"gw-{next(self._numbers)}"

    def upload(self, data: bytes, version: str | None = None) -> str:
        """Upload a firmware; return its version."""
        version = version or f"{next(self._numbers)}.0"
        path = self.folder / "upload.bin"
        path.write_bytes(data)
        self.api.upload(path, version)
        return version

    def controller(self, name: str | None = None) -> Controller:
        return Controller(self, name or self.new_name(), f"GatewayToken {self.token}")

    def device(self, name: str) -> Json:
        return self.api.device(f"{TENANT}/{name}")

    def push(self, name: str, version: str) -> None:
        self.api.push(f"{TENANT}/{name}", version)

    def end_back_off(self, name: str) -> None:
        """Make a retry of this device due now."""
        of_device = select(Device.id).where(Device.device_name == name)
        waiting = update(Assignment).where(
            Assignment.device_id.in_(of_device), Assignment.next_push_at.is_not(None)
        )
        with self.cloud.database.writing() as session:
            session.execute(waiting.values(next_push_at=0.0))

    def wait(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + WAIT_S
        while not (found := look()):
            if time.monotonic() > deadline:
                raise Unexpected(f"{what} did not happen in {WAIT_S:g} s")
            time.sleep(0.02)
        return found


class Controller:
    """A device of DDI. Each method raises Unexpected for another HTTP status than `status`."""

    def __init__(self, stage: Stage, name: str, authorization: str) -> None:
        self.name = name
        self.url = f"{stage.cloud.api_url}/{TENANT}/controller/v1/{name}"
        self.authorization = authorization

    def ask(
        self, method: str, path: str = "", status: int = 200, **options: Any
    ) -> httpx.Response:
        """`path` is that of the device, or a whole URL."""
        url = path if path.startswith("http") else self.url + path
        headers = {"Authorization": self.authorization, **options.pop("headers", {})}
        answer = httpx.request(method, url, headers=headers, timeout=WAIT_S, **options)
        if answer.status_code != status:
            raise Unexpected(
                f"{method} {url}: {answer.status_code} in place of {status}: {answer.text[:200]}"
            )
        return answer

    def poll(self, status: int = 200) -> Json:
        return dict(self.ask("GET", status=status).json())

    def links(self) -> dict[str, str]:
        """Poll; return the URLs of the answer."""
        return {key: link["href"] for key, link in self.poll()["_links"].items()}

    def offered(self, kind: str = "deploymentBase") -> str:
        """Poll; return the URL of this link. Raises Unexpected if it is missing."""
        links = self.links()
        if kind not in links:
            raise Unexpected(f"{self.name} is offered {sorted(links)}, not {kind}")
        return links[kind]

    def expect_nothing(self) -> None:
        links = set(self.links()) - {"configData", "confirmationBase"}
        if links:
            raise Unexpected(f"{self.name} is offered {sorted(links)}")

    def feedback(
        self, url: str, execution: str, finished: str = "none", *details: str, status: int = 200
    ) -> None:
        result = {"finished": finished, "progress": {"cnt": 1, "of": 2}}
        body = {"status": {"execution": execution, "result": result, "details": details}}
        self.ask("POST", f"{url}/feedback", status, json=body)

    def artifact(self, url: str) -> Json:
        chunks = self.ask("GET", url).json()["deployment"]["chunks"]
        return dict(chunks[0]["artifacts"][0])


def expect(found: object, wanted: object, what: str) -> None:
    """Raise Unexpected unless both are equal."""
    if found != wanted:
        raise Unexpected(f"{what}: {found!r} in place of {wanted!r}")
