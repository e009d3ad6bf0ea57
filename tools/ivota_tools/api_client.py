"""A client for the cloud's HTTP API, for the command line and for scripts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import httpx

from .common.unix_path import unix_path

DEFAULT_URL = "http://127.0.0.1:8123"
TIMEOUT_S = 30.0  # the event stream sends at least one line every 10 s
POLL_S = 0.3
PART = 1 << 16  # bytes of an upload between two progress updates
MARK = "Ivota-Api"  # a header of every response from a cloud
NOT_A_CLOUD = "the server at {} is not an ivota cloud: check IVOTA_URL"
ENDED = ("done", "failed", "cancelled", "skipped")

Json = dict[str, Any]  # the objects are described in /api/v1/openapi.json


class ApiError(RuntimeError):
    """The cloud is unreachable or rejects a request. `status` is the HTTP status, or 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """`url` and `token` default to `IVOTA_URL` and `IVOTA_TOKEN`. Every method raises ApiError.

    Without a token, the client connects to a cloud on this machine through the Unix socket in its
    data directory, which only its owner can use, with the token stored next to the socket. That
    token is never sent to a port: while the cloud is stopped, any program could listen there.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = (url or os.environ.get("IVOTA_URL") or DEFAULT_URL).rstrip("/")
        token = token or os.environ.get("IVOTA_TOKEN")
        local = None if token else _local(self.url)
        if local:
            token = local.token
        if token and not (token.isascii() and token.isprintable()):
            raise ApiError(
                "IVOTA_TOKEN is not a valid token: copy it again from `ivota token create`"
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
            raise ApiError(f"IVOTA_URL={self.url} must start with http:// or https://")
        if not self._http.base_url.host:
            raise ApiError(f"IVOTA_URL={self.url} has no host: use a URL such as {DEFAULT_URL}")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def health(self) -> Json:
        return self._object("GET", "health")

    def revision(self) -> int:
        """Return the number of the last change, from which `events` can follow."""
        return int(self.health()["counters"].get("revision", 0))

    def devices(self, status: str | None = None) -> list[Json]:
        """List all devices, or those that are accepted, pending or retired, by id."""
        return self._pages("devices", **({} if status is None else {"status": status}))

    def device(self, name: str) -> Json:
        """Find a device by PRODUCT/NAME, or by a NAME that only one device has."""
        return self._list("devices", device=name)[0]

    def reports(self, device_id: int) -> list[Json]:
        """List all reports of a device, oldest first."""
        return self._pages(f"devices/{device_id}/reports")

    def firmware(self) -> list[Json]:
        return self._pages("firmware")

    def failures(self, firmware_id: int) -> list[Json]:
        """List the failures of a firmware in the whole fleet."""
        return self._list(f"firmware/{firmware_id}/failures")

    def upload(
        self,
        path: Path,
        version: str | None = None,
        application: str | None = None,
        *,
        hardware: str | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Json:
        """Upload a firmware file; return {"firmware": …, "warnings": […]}.

        A bundle contains its version. `progress` receives the share sent so far, 0 to 1.
        """
        given = {"version": version, "application": application, "hardware": hardware}
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
        include_mismatched: bool = False,
    ) -> Json:
        """Deploy a firmware; return {"device": …, "firmware": …}.

        `new` allows a device that has never reported, `include_mismatched` one of another
        application or other hardware.
        """
        order = {
            "device": device,
            "version": version,
            "firmware_id": firmware_id,
            "application": application,
            "new": new,
            "include_mismatched": include_mismatched,
        }
        return self._object("POST", "push", json=order)

    # -- one device ---------------------------------------------------------------------------

    def why(self, device_id: int) -> Json:
        """Return {"why": …}: the reason why the device is waiting."""
        return self._object("GET", f"devices/{device_id}/why")

    def attempts(self, device_id: int) -> list[Json]:
        """List the device's update attempts with their results."""
        return self._pages(f"devices/{device_id}/attempts")

    def attempt_reports(self, attempt_id: int) -> list[Json]:
        return self._list(f"attempts/{attempt_id}/reports")

    def tag(self, device_id: int, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Json:
        order = {"add": list(add), "remove": list(remove)}
        return self._object("POST", f"devices/{device_id}/tags", json=order)

    def add_devices(self, devices: Sequence[Json]) -> list[Json]:
        """Enroll devices, all of them or none; return [{"device": …, "board": …}].

        `devices`: each {"device": "PRODUCT/NAME"}, optionally with application, hardware and
        tags. `board` is the board.json, with the secret that cannot be retrieved again.
        """
        answer: list[Json] = self._ask("POST", "devices", json={"devices": list(devices)})
        return answer

    def set_device(
        self, device_id: int, application: str | None = None, hardware: str | None = None
    ) -> Json:
        """Set what a device is for; None keeps a property, "" makes it unknown."""
        order = {"application": application, "hardware": hardware}
        return self._object("PATCH", f"devices/{device_id}", json=order)

    def set_secret(self, device_id: int, secret: str) -> Json:
        """Set the secret that the device signs in with, in base64."""
        return self._object("PUT", f"devices/{device_id}/secret", json={"secret": secret})

    def remove_secret(self, device_id: int) -> Json:
        """Remove the device's secret: with --sign-in, the device cannot sign in any more."""
        return self._object("DELETE", f"devices/{device_id}/secret")

    def accept_device(self, device_id: int) -> Json:
        """Accept a device into the fleet."""
        return self._object("POST", f"devices/{device_id}/accept")

    def accept_pending(self) -> Json:
        """Accept all pending devices; return {"devices": how many}."""
        return self._object("POST", "pending/accept")

    def retire_device(self, device_id: int) -> Json:
        """Stop a device's updates and block its sign-in; keep its history."""
        return self._object("POST", f"devices/{device_id}/retire")

    def delete_device(self, device_id: int) -> None:
        """Permanently delete a device and its entire history."""
        self._ask("DELETE", f"devices/{device_id}")

    def delete_firmware(self, firmware_id: int) -> None:
        """Delete a firmware and its patches."""
        self._ask("DELETE", f"firmware/{firmware_id}")

    def delete_campaign(self, campaign_id: int) -> None:
        """Delete a draft or an ended campaign."""
        self._ask("DELETE", f"campaigns/{campaign_id}")

    def retry_device(self, device_id: int) -> Json:
        return self._object("POST", f"devices/{device_id}/retry")

    def cancel_device(self, device_id: int) -> Json:
        return self._object("POST", f"devices/{device_id}/cancel")

    # -- groups and campaigns -----------------------------------------------------------------

    def query(self, text: str) -> list[Json]:
        """List the devices that match a query now."""
        return self._pages("query", text=text)

    def groups(self) -> list[Json]:
        return self._pages("groups")

    def put_group(self, name: str, query: str) -> Json:
        return self._object("PUT", "groups", json={"name": name, "query": query})

    def remove_group(self, group_id: int) -> None:
        self._ask("DELETE", f"groups/{group_id}")

    def plan_campaign(self, **order: Any) -> Json:
        """Return what a campaign would do, without creating it. `order`: as create_campaign."""
        return self._object("POST", "campaigns/plan", json=order)

    def campaign_plan(self, campaign_id: int) -> Json:
        """Return what a draft or a scheduled campaign would do if it started now."""
        return self._object("GET", f"campaigns/{campaign_id}/plan")

    def create_campaign(self, **order: Any) -> Json:
        """Create a campaign. `order`: `CampaignIn` in /api/v1/openapi.json."""
        return self._object("POST", "campaigns", json=order)

    def campaigns(self) -> list[Json]:
        return self._pages("campaigns")

    def campaign(self, campaign_id: int) -> Json:
        return self._object("GET", f"campaigns/{campaign_id}")

    def campaign_devices(self, campaign_id: int) -> list[Json]:
        """List the devices of a campaign by id."""
        return self._pages(f"campaigns/{campaign_id}/devices")

    def act_on_campaign(self, campaign_id: int, action: str) -> Json:
        """Change a campaign. `action`: start, pause, resume, cancel or retry."""
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
        """Retry the failed devices; return {"devices": how many}."""
        return self.act_on_campaign(campaign_id, "retry")

    # -- channels -----------------------------------------------------------------------------

    def channels(self) -> list[Json]:
        """List the channels that the cloud serves, with what they offer."""
        return self._list("channels")

    def channel(self, product: str) -> Json:
        return self._object("GET", f"channels/{quote(product, safe='')}")

    def missing_in_channel(self, product: str, index: bytes) -> list[str]:
        """List the files that the cloud lacks for this channel.json."""
        path = f"channels/{quote(product, safe='')}/missing"
        return list(self._object("POST", path, content=index)["missing"])

    def upload_to_channel(
        self,
        product: str,
        path: Path,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Upload a signed file, whose name is its MD5 with .bin; see `upload`."""
        size = path.stat().st_size
        with path.open("rb") as file:
            self._ask(
                "PUT",
                f"channels/{quote(product, safe='')}/files/{quote(path.name, safe='')}",
                content=_parts(file, size, progress),
                headers={"Content-Length": str(size)},
            )

    def publish_channel(self, product: str, index: bytes) -> Json:
        """Serve this channel.json, whose files have been uploaded."""
        return self._object("PUT", f"channels/{quote(product, safe='')}/index", content=index)

    def offer_in_channel(self, product: str, firmware_id: int, **order: Any) -> Json:
        """Offer a firmware in a channel that the cloud fills. `order`: track, share, not_before
        and deltas.
        """
        path = f"channels/{quote(product, safe='')}/offer"
        return self._object("POST", path, json={"firmware_id": firmware_id, **order})

    def end_in_channel(self, product: str, version: str, track: str = "stable") -> Json:
        """Offer a version no longer."""
        order = {"version": version, "track": track}
        return self._object("POST", f"channels/{quote(product, safe='')}/end", json=order)

    # -- webhooks -----------------------------------------------------------------------------

    def webhook_messages(self) -> list[Json]:
        """List the messages that are waiting or that the cloud has given up, oldest first."""
        return self._pages("webhooks/messages")

    def send_webhook_test(self) -> list[Json]:
        """Send a test message to each webhook; return each one's {"host": …, "problem": …}.

        The problem is None if the webhook took the message.
        """
        found: list[Json] = self._ask("POST", "webhooks/test")
        return found

    def retry_webhooks(self, only: int | None = None) -> Json:
        """Resend the messages that the cloud has given up, or one of them; return {"count": how
        many}.
        """
        one = "" if only is None else f"messages/{only}/"
        return self._object("POST", f"webhooks/{one}retry")

    # -- access -------------------------------------------------------------------------------

    def tokens(self) -> list[Json]:
        return self._pages("tokens")

    def create_token(self, name: str, role: str = "operator") -> Json:
        """Create a token; `token` in the response cannot be retrieved again."""
        return self._object("POST", "tokens", json={"name": name, "role": role})

    def remove_token(self, token_id: int) -> None:
        self._ask("DELETE", f"tokens/{token_id}")

    def ddi_tokens(self) -> list[Json]:
        return self._pages("ddi-tokens")

    def create_ddi_token(self, name: str, device: str | None = None) -> Json:
        """Create a token for a device that polls by DDI, or for a gateway."""
        return self._object("POST", "ddi-tokens", json={"name": name, "device": device})

    def remove_ddi_token(self, token_id: int) -> None:
        self._ask("DELETE", f"ddi-tokens/{token_id}")

    def audit(self) -> list[Json]:
        """List the audit log, oldest entry first."""
        return self._pages("audit")

    def export_audit(self, after: int = 0) -> Iterator[Json]:
        """Yield the entries of the audit log with ids above `after`, oldest first."""
        return self._each("audit", after)

    def users(self) -> list[Json]:
        """List the console users."""
        return self._pages("users")

    def create_user(self, name: str, password: str, role: str = "operator") -> Json:
        return self._object(
            "POST", "users", json={"name": name, "password": password, "role": role}
        )

    def change_user(
        self, user_id: int, role: str | None = None, password: str | None = None
    ) -> Json:
        """Change a user. A new password also signs the user out everywhere."""
        return self._object("PUT", f"users/{user_id}", json={"role": role, "password": password})

    def reset_second_factor(self, user_id: int) -> Json:
        """Let a user who has lost their second factor sign in without it."""
        return self._object("PUT", f"users/{user_id}", json={"second_factor": False})

    def remove_user(self, user_id: int) -> None:
        self._ask("DELETE", f"users/{user_id}")

    # -- live ---------------------------------------------------------------------------------

    def wait(self, device_id: int, timeout_s: float | None = None) -> Iterator[Json]:
        """Yield the device at each change until its update ends.

        An update ends when it is done, fails permanently, or is replaced by another; the last
        item is the result. Raises ApiError at the timeout.
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
                    f"{device['device']} is still {device['state']} after {timeout_s:g} s; the "
                    "update continues: follow it with `ivota watch`"
                )
            time.sleep(POLL_S)

    def events(self, after: int = 0) -> Iterator[Json]:
        """Yield the state of each device, then every change, until the connection is lost."""
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
                    raise ApiError(f"lost the connection to the cloud at {self.url}") from None
        raise ApiError(f"the cloud at {self.url} closed the event stream")

    def _object(self, method: str, path: str, **arguments: Any) -> Json:
        answer: Json = self._ask(method, path, **arguments)
        return answer

    def _list(self, path: str, **params: Any) -> list[Json]:
        answer: list[Json] = self._ask("GET", path, params=params)
        return answer

    def _pages(self, path: str, **params: Any) -> list[Json]:
        """Fetch all pages of a list."""
        return list(self._each(path, **params))

    def _each(self, path: str, after: int = 0, **params: Any) -> Iterator[Json]:
        while page := self._list(path, **params, after=after):
            yield from page
            after = page[-1]["id"]

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
        """Raise ApiError if the response is not from a cloud."""
        if MARK not in answer.headers:
            raise ApiError(NOT_A_CLOUD.format(self.url))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn httpx's errors into sentences."""
        try:
            yield
        except httpx.ConnectError as error:
            if "certificate has expired" in str(error):
                raise ApiError(
                    f"the certificate of {self.url} has expired: renew it on the server, then run "
                    "`systemctl reload ivota` there"
                ) from None
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ApiError(
                    f"the certificate of {self.url} is not trusted ({error}): set SSL_CERT_FILE "
                    "to its authority's file, or use the host name of the certificate"
                ) from None
            raise ApiError(
                f"cannot reach a cloud at {self.url}: start one with `ivota cloud`, "
                "or set IVOTA_URL"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise ApiError(
                f"the connection to the cloud at {self.url} failed ({what}): try again; if this "
                "persists, check that IVOTA_URL has the HTTP port, not the MQTT port"
            ) from None


def _parts(file: IO[bytes], size: int, progress: Callable[[float], None]) -> Iterator[bytes]:
    sent = 0
    while part := file.read(PART):
        yield part
        sent += len(part)
        progress(sent / size)


def default_data() -> Path:
    """Return the default data directory of a cloud."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ivota"


def local_socket(folder: Path, port: int) -> Path:
    """Return the path of the owner's socket of a cloud with this data directory and HTTP port."""
    return folder / f"api-{port}.sock"


class _Local(NamedTuple):
    """The owner's access to a cloud on this machine."""

    socket: str
    token: str


def _local(url: str) -> _Local | None:
    """Find a cloud on this machine at `url` with the default data directory, or return None."""
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
        detail = f"the cloud returned HTTP {answer.status_code} {answer.reason_phrase}"
    return ApiError(str(detail), answer.status_code)
