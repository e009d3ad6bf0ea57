"""The cloud's HTTP API from the outside: what the command line speaks, and scripts may."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from .common.unix_path import unix_path

DEFAULT_URL = "http://127.0.0.1:8123"
TIMEOUT_S = 30.0  # the events' stream says something every 10 s
POLL_S = 0.3
PART = 1 << 16  # bytes of an upload between two words about how far it is
MARK = "Ivota-Api"  # a header of each answer of a cloud
NOT_A_CLOUD = "{} answers, but is not an ivota cloud: check IVOTA_URL"
ENDED = ("done", "failed", "cancelled", "skipped")

Json = dict[str, Any]  # the objects of docs: /api/v1/openapi.json describes each


class ApiError(RuntimeError):
    """The cloud was not reached, or refuses; says why and what to do. `status` is HTTP's, or 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """`url` and `token` default to `IVOTA_URL` and `IVOTA_TOKEN`. Every method raises ApiError.

    Without a token, a cloud on this machine is spoken to over the Unix socket in its data folder,
    which its owner alone can use, and told the token that lies beside it. That token never goes to
    a port: while the cloud does not run, anybody could listen there.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = (url or os.environ.get("IVOTA_URL") or DEFAULT_URL).rstrip("/")
        token = token or os.environ.get("IVOTA_TOKEN")
        local = None if token else _local(self.url)
        if local:
            token = local.token
        if token and not (token.isascii() and token.isprintable()):
            raise ApiError(
                "IVOTA_TOKEN is no token: copy it again, as `ivota token create` showed it"
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=("http://localhost" if local else self.url) + "/api/v1/",
                headers=headers,
                timeout=TIMEOUT_S,
                transport=httpx.HTTPTransport(uds=local.socket) if local else None,
            )
        except httpx.InvalidURL as error:
            raise ApiError(f"IVOTA_URL is not a URL: {self.url!r} ({error})") from None
        if self._http.base_url.scheme not in ("http", "https"):
            raise ApiError(f"IVOTA_URL={self.url} does not begin with http:// or https://")
        if not self._http.base_url.host:
            raise ApiError(f"IVOTA_URL={self.url} names no computer: write it as {DEFAULT_URL}")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def health(self) -> Json:
        return self._object("GET", "health")

    def devices(self, status: str | None = None) -> list[Json]:
        """All of them, or those that are accepted, pending or retired, by id."""
        return self._pages("devices", **({} if status is None else {"status": status}))

    def device(self, name: str) -> Json:
        """By PRODUCT/NAME, or a NAME that only one device has."""
        return self._list("devices", device=name)[0]

    def reports(self, device_id: int) -> list[Json]:
        """All that a device said, oldest first."""
        return self._pages(f"devices/{device_id}/reports")

    def firmware(self) -> list[Json]:
        return self._pages("firmware")

    def upload(
        self,
        path: Path,
        version: str | None = None,
        application: str | None = None,
        *,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Json:
        """{"firmware": …, "warnings": […]}; a bundle says its version itself.

        `progress` is told the share that is sent, 0 to 1.
        """
        given = {"version": version, "application": application}
        size = path.stat().st_size
        with path.open("rb") as file:
            return self._object(
                "POST",
                "firmware",
                params={key: value for key, value in given.items() if value is not None},
                content=_parts(file, size, progress),
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(size),
                },
            )

    def push(
        self,
        device: str,
        version: str | None = None,
        *,
        firmware_id: int | None = None,
        application: str | None = None,
        new: bool = False,
    ) -> Json:
        """{"device": …, "firmware": …}; `new` allows a device that has never reported."""
        order = {
            "device": device,
            "version": version,
            "firmware_id": firmware_id,
            "application": application,
            "new": new,
        }
        return self._object("POST", "push", json=order)

    # -- one device ---------------------------------------------------------------------------

    def why(self, device_id: int) -> Json:
        """{"why": …}: what the device waits for."""
        return self._object("GET", f"devices/{device_id}/why")

    def attempts(self, device_id: int) -> list[Json]:
        """Every target it was ever given, and how each ended."""
        return self._pages(f"devices/{device_id}/attempts")

    def attempt_reports(self, attempt_id: int) -> list[Json]:
        return self._list(f"attempts/{attempt_id}/reports")

    def tag(self, device_id: int, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Json:
        order = {"add": list(add), "remove": list(remove)}
        return self._object("POST", f"devices/{device_id}/tags", json=order)

    def set_secret(self, device_id: int, secret: str | None) -> Json:
        """What it signs in with, in base64."""
        return self._object("PUT", f"devices/{device_id}/secret", json={"secret": secret})

    def accept_device(self, device_id: int) -> Json:
        """From now on it is part of the fleet."""
        return self._object("POST", f"devices/{device_id}/accept")

    def accept_pending(self) -> Json:
        """{"devices": how many were accepted}: all that wait for it."""
        return self._object("POST", "pending/accept")

    def retire_device(self, device_id: int) -> Json:
        """It keeps its history, is given nothing any more, and cannot sign in."""
        return self._object("POST", f"devices/{device_id}/retire")

    def delete_device(self, device_id: int) -> None:
        """For good, with all that was ever heard of it."""
        self._ask("DELETE", f"devices/{device_id}")

    def delete_firmware(self, firmware_id: int) -> None:
        """Its file, and its patches."""
        self._ask("DELETE", f"firmware/{firmware_id}")

    def delete_campaign(self, campaign_id: int) -> None:
        """A draft, or one that has ended."""
        self._ask("DELETE", f"campaigns/{campaign_id}")

    def retry_device(self, device_id: int) -> Json:
        return self._object("POST", f"devices/{device_id}/retry")

    def cancel_device(self, device_id: int) -> Json:
        return self._object("POST", f"devices/{device_id}/cancel")

    # -- groups and campaigns -----------------------------------------------------------------

    def query(self, text: str) -> list[Json]:
        """The devices that a query means now."""
        return self._pages("query", text=text)

    def groups(self) -> list[Json]:
        return self._pages("groups")

    def put_group(self, name: str, query: str) -> Json:
        return self._object("PUT", "groups", json={"name": name, "query": query})

    def remove_group(self, group_id: int) -> None:
        self._ask("DELETE", f"groups/{group_id}")

    def create_campaign(self, **order: Any) -> Json:
        """The keys of `CampaignIn` in /api/v1/openapi.json; None stands for what is not said."""
        return self._object("POST", "campaigns", json=order)

    def campaigns(self) -> list[Json]:
        return self._pages("campaigns")

    def campaign(self, campaign_id: int) -> Json:
        return self._object("GET", f"campaigns/{campaign_id}")

    def campaign_devices(self, campaign_id: int) -> list[Json]:
        """All of them, by id."""
        return self._pages(f"campaigns/{campaign_id}/devices")

    def act_on_campaign(self, campaign_id: int, action: str) -> Json:
        """`action`: start, pause, resume, cancel or retry."""
        return self._object("POST", f"campaigns/{campaign_id}/{action}")

    def start_campaign(self, campaign_id: int) -> Json:
        return self.act_on_campaign(campaign_id, "start")

    def pause_campaign(self, campaign_id: int) -> Json:
        return self.act_on_campaign(campaign_id, "pause")

    def resume_campaign(self, campaign_id: int) -> Json:
        return self.act_on_campaign(campaign_id, "resume")

    def cancel_campaign(self, campaign_id: int) -> Json:
        return self.act_on_campaign(campaign_id, "cancel")

    def retry_campaign(self, campaign_id: int) -> Json:
        """{"devices": how many are tried again}."""
        return self.act_on_campaign(campaign_id, "retry")

    # -- who may, and who did -----------------------------------------------------------------

    def tokens(self) -> list[Json]:
        return self._pages("tokens")

    def create_token(self, name: str, role: str = "operator") -> Json:
        """With `token`, which is shown this once."""
        return self._object("POST", "tokens", json={"name": name, "role": role})

    def remove_token(self, token_id: int) -> None:
        self._ask("DELETE", f"tokens/{token_id}")

    def audit(self) -> list[Json]:
        """Who changed what, oldest first."""
        return self._pages("audit")

    def users(self) -> list[Json]:
        """Who may sign in to the console."""
        return self._pages("users")

    def create_user(self, name: str, password: str, role: str = "operator") -> Json:
        return self._object(
            "POST", "users", json={"name": name, "password": password, "role": role}
        )

    def change_user(
        self, user_id: int, role: str | None = None, password: str | None = None
    ) -> Json:
        """Another password also signs out every browser of theirs."""
        return self._object("PUT", f"users/{user_id}", json={"role": role, "password": password})

    def remove_user(self, user_id: int) -> None:
        self._ask("DELETE", f"users/{user_id}")

    # -- as it goes ---------------------------------------------------------------------------

    def wait(self, device_id: int, timeout_s: float | None = None) -> Iterator[Json]:
        """The device whenever it has changed, until its update is done or has failed.

        A push is over when it is done, when it has failed for good, or when another took its
        place; the last item is how it ended. Raises ApiError at the timeout.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        seen = -1
        while True:
            device = self._object("GET", f"devices/{device_id}")
            if device["revision"] != seen:
                seen = device["revision"]
                yield device
            if device["state"] in ENDED:
                return
            if deadline is not None and time.monotonic() > deadline:
                raise ApiError(
                    f"{device['device']} is {device['state']} after {timeout_s:g} s; the push "
                    "stands, `ivota watch` shows how it goes on"
                )
            time.sleep(POLL_S)

    def events(self, after: int = 0) -> Iterator[Json]:
        """Each device as it is, then again whenever it has changed, until the link is lost."""
        with self._errors():
            with self._http.stream("GET", "events", params={"after": after}) as answer:
                self._expect_cloud(answer)
                if answer.status_code != 200:
                    answer.read()
                    raise _refusal(answer)
                try:
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            yield json.loads(line[6:])
                except httpx.HTTPError:
                    raise ApiError(f"the link to the cloud at {self.url} is lost") from None
        raise ApiError(f"the cloud at {self.url} has ended the stream of events")

    def _object(self, method: str, path: str, **arguments: Any) -> Json:
        answer: Json = self._ask(method, path, **arguments)
        return answer

    def _list(self, path: str, **params: Any) -> list[Json]:
        answer: list[Json] = self._ask("GET", path, params=params)
        return answer

    def _pages(self, path: str, **params: Any) -> list[Json]:
        """All of a list that the cloud gives in pages, by id."""
        found: list[Json] = []
        while page := self._list(path, **params, after=found[-1]["id"] if found else 0):
            found += page
        return found

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        with self._errors():
            answer = self._http.request(method, path, **arguments)
            self._expect_cloud(answer)
            if not answer.is_success:
                raise _refusal(answer)
            if answer.status_code == 204:
                return None
            try:
                return answer.json()
            except ValueError:
                raise ApiError(NOT_A_CLOUD.format(self.url)) from None

    def _expect_cloud(self, answer: httpx.Response) -> None:
        """What somebody else says is not taken for the cloud's answer, whatever it looks like."""
        if MARK not in answer.headers:
            raise ApiError(NOT_A_CLOUD.format(self.url))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns httpx's errors into sentences."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ApiError(
                    f"the certificate of {self.url} is not trusted here ({error}): name its "
                    "authority's file in SSL_CERT_FILE, or use the name that it is for"
                ) from None
            raise ApiError(
                f"no cloud answers at {self.url}: start one with `ivota cloud`, or say where it "
                "is in IVOTA_URL"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise ApiError(
                f"the link to the cloud at {self.url} failed ({what}): try again; if it never "
                "works, check that IVOTA_URL is its HTTP port, and not that of MQTT"
            ) from None


def _parts(file: IO[bytes], size: int, progress: Callable[[float], None]) -> Iterator[bytes]:
    sent = 0
    while part := file.read(PART):
        yield part
        sent += len(part)
        progress(sent / size)


def default_data() -> Path:
    """Where a cloud keeps its data, if nothing else is said."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ivota"


def local_socket(folder: Path, port: int) -> Path:
    """Where a cloud with this data folder and HTTP port answers its machine's owner."""
    return folder / f"api-{port}.sock"


class _Local(NamedTuple):
    """How its owner speaks to a cloud of this machine."""

    socket: str
    token: str


def _local(url: str) -> _Local | None:
    """None where there is none at this URL, with the folder that is the default."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.hostname not in ("127.0.0.1", "::1", "localhost") or parts.path:
            return None
        path = local_socket(default_data(), port)
        if not path.is_socket():
            return None
        token = (default_data() / "api.token").read_text().strip()
        return _Local(unix_path(path), token) if token else None
    except (OSError, ValueError):
        return None


def _refusal(answer: httpx.Response) -> ApiError:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"the cloud answers HTTP {answer.status_code} {answer.reason_phrase}"
    return ApiError(str(detail), answer.status_code)
