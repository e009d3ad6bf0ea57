"""A client of the cloud's HTTP API for commands and scripts, with one method per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

from .common.api_connection import ApiError as ApiError
from .common.api_connection import Connection
from .common.api_connection import Json as Json

POLL_S = 0.3
BULK_MOST = 500  # devices in a request
PART = 1 << 16  # bytes of an upload between two progress updates
ENDED = ("done", "failed", "cancelled", "skipped")


class Client(Connection):
    """`url` and `token` default to `IVOTA_URL` and `IVOTA_TOKEN`. Every method raises ApiError.

    Without a token, the client connects to a cloud on this machine through the Unix socket in its
    data directory, which only its owner can use, with the token stored next to the socket. That
    token is never sent to a port: while the cloud is stopped, any program could listen there.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(url, token)

    def __enter__(self) -> Client:
        return self

    def health(self) -> Json:
        return self._object("GET", "health")

    def cloud(self) -> Json:
        """Return the cloud's addresses, its broker, certificate, last backup and disk."""
        return self._object("GET", "cloud")

    def revision(self) -> int:
        """Return the number of the last change, from which `events` can follow."""
        return int(self.health()["counters"].get("revision", 0))

    def devices(self, status: str | None = None) -> list[Json]:
        """List all devices, or those that are accepted, pending or retired, by id."""
        return self._pages("devices", **({} if status is None else {"status": status}))

    def device(self, name: str) -> Json:
        """Find a device by PRODUCT/NAME, or by a NAME that only one device has."""
        return self._list("devices", device=name)[0]

    def device_by_id(self, device_id: int) -> Json:
        return self._object("GET", f"devices/{device_id}")

    def reports(self, device_id: int) -> list[Json]:
        """List all reports of a device, oldest first."""
        return self._pages(f"devices/{device_id}/reports")

    def firmware(self) -> list[Json]:
        return self._pages("firmware")

    def failures(self, firmware_id: int) -> list[Json]:
        """List the failures of the firmware in the whole fleet."""
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
        """Deploy firmware; return {"device": …, "firmware": …}.

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
        """Set a device's application and hardware; None keeps a value, "" means unknown."""
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

    def retire_device(self, device_id: int) -> Json:
        """Stop a device's updates and block its sign-in; keep its history."""
        return self._object("POST", f"devices/{device_id}/retire")

    def delete_device(self, device_id: int) -> None:
        """Permanently delete a device and its entire history."""
        self._ask("DELETE", f"devices/{device_id}")

    def delete_firmware(self, firmware_id: int) -> None:
        """Delete the firmware and its patches."""
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

    def matching_ids(self, query: str, action: str) -> list[int]:
        """List the ids of the devices that match a query now and that an action is for: accept is
        for pending devices, retry for failed updates, and cancel for unfinished ones.
        """
        found: list[int] = []
        order = {"text": query, "action": action}
        while page := self._ask("GET", "query/ids", params={**order, "after": found[-1:] or 0}):
            found += page
        return found

    def act_on_matching(
        self, query: str, action: str, devices: Sequence[int] | None = None, **order: Any
    ) -> Iterator[Json]:
        """Act on those of these devices that still match a query, or else on all that match.

        `action`: tag (`order`: add, remove), properties (application, hardware), push
        (firmware_id, include_mismatched), retry, cancel, accept, retire or delete. `devices` are
        ids, as `matching_ids` returns them. Yields after each part of at most 500 devices
        {"devices": number of changed devices, "skipped": [{"devices": …, "reason": …}, …]}.
        """
        ids = self.matching_ids(query, action) if devices is None else devices
        entry = None
        for at in range(0, len(ids), BULK_MOST):
            given = {"devices": ids[at : at + BULK_MOST], "entry": entry}
            part = self._object(
                "POST", "query/action", json={"query": query, "action": action, **order, **given}
            )
            entry = part["entry"]
            yield part

    def groups(self) -> list[Json]:
        return self._pages("groups")

    def put_group(
        self, name: str, query: str, report_interval_s: int | Literal["none"] | None = None
    ) -> Json:
        """Create a group, or change it. `report_interval_s`: None keeps it, "none" removes it."""
        order: Json = {"name": name, "query": query}
        if report_interval_s is not None:  # an older cloud does not know it
            order["report_interval_s"] = report_interval_s
        return self._object("PUT", "groups", json=order)

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

    def start_campaign(self, campaign_id: int, plan: str | None = None) -> Json:
        """Start a draft or a scheduled campaign now; `plan` is the mark of its plan, if somebody
        has seen that.
        """
        path = f"campaigns/{campaign_id}/start"
        return self._object("POST", path, json={"plan": plan})

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
        """Offer firmware in a channel that the cloud signs. `order`: track, share, not_before
        and deltas.
        """
        path = f"channels/{quote(product, safe='')}/offer"
        return self._object("POST", path, json={"firmware_id": firmware_id, **order})

    def end_in_channel(self, product: str, version: str, track: str = "stable") -> Json:
        """Stop offering a version."""
        order = {"version": version, "track": track}
        return self._object("POST", f"channels/{quote(product, safe='')}/end", json=order)

    # -- webhooks -----------------------------------------------------------------------------

    def webhook_messages(self) -> list[Json]:
        """List the messages that are waiting or that the cloud has given up on, oldest first."""
        return self._pages("webhooks/messages")

    def send_webhook_test(self) -> list[Json]:
        """Send a test message to each webhook; return each one's {"host": …, "problem": …}.

        The problem is None if the webhook accepted the message.
        """
        found: list[Json] = self._ask("POST", "webhooks/test")
        return found

    def retry_webhooks(self, only: int | None = None) -> Json:
        """Resend the messages that the cloud has given up on, or one of them; return {"count": how
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
            device = self.device_by_id(device_id)
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
        return self._stream("events", after=after)


def _parts(file: IO[bytes], size: int, progress: Callable[[float], None]) -> Iterator[bytes]:
    sent = 0
    while part := file.read(PART):
        yield part
        sent += len(part)
        progress(sent / size)
