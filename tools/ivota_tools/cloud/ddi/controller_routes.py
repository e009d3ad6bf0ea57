"""Serve DDI at `/{tenant}/controller/v1/{id}`; `authorize` is the guard of all its requests."""

from __future__ import annotations

import functools
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from ..accounts.users import UserError
from ..downloads.endpoint import send_part
from ..mqtt.cloud_session import Message
from ..mqtt.messages import NAME_MOST
from ..store.database import Database
from ..store.device_acceptance import RETIRED
from ..store.file_store import FileStore
from ..store.models import Firmware
from . import actions, device_messages, device_tokens, responses
from .actions import CANCEL, CONFIRM, DEPLOY, ActionError, Rules
from .request_rate import RequestRate

ACTION_MOST = 2**31 - 1
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Setting:
    """The options of `ivota cloud` for DDI. `tenant` is also the product of its devices."""

    tenant: str
    poll_s: int = 300
    confirm: bool = False

    @property
    def prefix(self) -> str:
        return f"/{self.tenant}/controller/v1/"


def authorize(database: Database, setting: Setting) -> Callable[[Request], str]:
    """Return a function that returns the id of the device, or raises HTTPException."""

    def may(request: Request) -> str:
        name: str = request.scope["path"].removeprefix(setting.prefix).partition("/")[0]
        if not 0 < len(name) <= NAME_MOST or not name.isprintable() or set(name) & set("+#"):
            raise HTTPException(404, "the device id is not valid")
        scheme, _, word = request.headers.get("authorization", "").partition(" ")
        with database.reading() as session:
            device = actions.find(session, setting.tenant, name)
            if not device_tokens.may_speak_for(session, scheme, word.strip(), device):
                raise HTTPException(
                    401,
                    "the token is missing or invalid: send Authorization: GatewayToken … or "
                    "TargetToken …, from `ivota ddi-token create`",
                )
            if device is not None and device.status == RETIRED:
                raise HTTPException(403, f"{device.name} is retired")
        return name

    return may


def routes(
    database: Database,
    store: FileStore,
    setting: Setting,
    rules: Rules,
    *,
    public_url: Callable[[], str],
    url_ttl_s: Callable[[], float],
) -> APIRouter:
    rate = RequestRate()
    router = APIRouter(
        prefix=f"{setting.prefix}{{name}}", dependencies=[Depends(rate.check)],
        include_in_schema=False,
    )  # fmt: skip
    tenant = setting.tenant

    def base(name: str) -> str:
        return f"{public_url()}{setting.prefix}{quote(name, safe='')}"

    async def change(
        request: Request, name: str, read: Callable[[bytes], Any], apply: Callable[..., None],
        *place: Any,
    ) -> Response:  # fmt: skip
        """Read a body, and apply it in a transaction."""
        body = await _body(request)
        message = Message(request.url.path, body, 0, False, 0, 0)

        def write() -> None:
            said = read(body)
            with database.storing() as session:
                apply(session, *place, said, message, time.time(), rules)

        await _answered(write)
        return Response(status_code=200)

    @router.get("")
    async def poll(name: str) -> Response:
        offer = await _answered(actions.poll, database, tenant, name, time.time(), rules)
        return _json(responses.controller(base(name), offer, setting.poll_s, setting.confirm))

    @router.api_route("/configData", methods=["PUT", "POST"])
    async def config_data(request: Request, name: str) -> Response:
        return await change(request, name, bytes, actions.take_attributes, tenant, name)

    @router.get("/deploymentBase/{action}")
    async def deployment(name: str, action: str) -> Response:
        return await _describe(name, action, DEPLOY)

    @router.get("/confirmationBase/{action}")
    async def confirmation(name: str, action: str) -> Response:
        return await _describe(name, action, CONFIRM)

    async def _describe(name: str, action: str, kind: str) -> Response:
        number = _number(action)

        def look() -> dict[str, Any]:
            with database.reading() as session:
                _, _, attempt = actions.expect(session, tenant, name, number, kind, rules=rules)
                sha256 = attempt.firmware.sha256
            sha1 = _sha1(store, sha256)  # which may have to be fetched
            return responses.deployment(base(name), kind, number, attempt, sha1)

        return _json(await _answered(look))

    @router.post("/deploymentBase/{action}/feedback")
    async def deployed(request: Request, name: str, action: str) -> Response:
        place = tenant, name, _number(action)
        return await change(
            request, name, device_messages.read_feedback, actions.take_feedback, place
        )

    @router.get("/cancelAction/{action}")
    async def cancellation(name: str, action: str) -> Response:
        number = _number(action)

        def look() -> None:
            with database.reading() as session:
                actions.expect(session, tenant, name, number, CANCEL, rules=rules)

        await _answered(look)
        return _json(responses.cancellation(number))

    @router.post("/cancelAction/{action}/feedback")
    async def cancelled(request: Request, name: str, action: str) -> Response:
        place = tenant, name, _number(action)
        return await change(
            request, name, device_messages.read_feedback, actions.take_cancellation, place
        )

    @router.get("/confirmationBase")
    async def confirmation_state(name: str) -> Response:
        offer = await _answered(actions.poll, database, tenant, name, time.time(), rules)
        return _json(responses.confirmation_state(base(name), offer.auto_confirm))

    @router.post("/confirmationBase/{action}")
    async def auto_confirm(request: Request, name: str, action: str) -> Response:
        await _body(request)
        if action not in ("activateAutoConfirm", "deactivateAutoConfirm"):
            raise HTTPException(
                404, "the action must be activateAutoConfirm or deactivateAutoConfirm"
            )

        def write() -> None:
            with database.storing() as session:
                on = action == "activateAutoConfirm"
                actions.set_auto_confirm(session, tenant, name, time.time(), on, rules)

        await _answered(write)
        return Response(status_code=200)

    @router.post("/confirmationBase/{action}/feedback")
    async def confirmed(request: Request, name: str, action: str) -> Response:
        place = tenant, name, _number(action)
        return await change(
            request, name, device_messages.read_confirmation, actions.take_confirmation, place
        )

    @router.get("/softwaremodules/{module}/artifacts")
    async def list_artifacts(name: str, module: str) -> Response:
        found = await _answered(_offered, name, _number(module))
        sha1 = await _answered(_sha1, store, found.sha256)
        return JSONResponse(responses.artifacts(base(name), found, sha1))

    @router.api_route("/softwaremodules/{module}/artifacts/{file}", methods=["GET", "HEAD"])
    async def artifact(request: Request, name: str, module: str, file: str) -> Response:
        found = await _answered(_offered, name, _number(module))
        own = responses.filename(found)
        if file == f"{own}.MD5SUM":
            return PlainTextResponse(f"{found.md5}  {own}\n")
        if file != own:
            raise HTTPException(404, "this artifact does not exist")
        if request.method == "GET" and (link := store.link(found.sha256, url_ttl_s())):
            # Not in the document: a device would send its token to the store, which refuses two
            # ways of signing in. Clients do not send it along with a redirect to another host.
            return RedirectResponse(link, 302, {"Cache-Control": "no-store"})
        return await send_part(request, store, found)

    def _offered(name: str, module: int) -> Firmware:
        """Find the firmware of the device's open action, the only one that the device may
        download.
        """
        with database.reading() as session:
            if found := _open_firmware(session, name, module):
                return found
        raise ActionError("this artifact is not part of an open action of the device")

    def _open_firmware(session: Session, name: str, module: int) -> Firmware | None:
        device = actions.find(session, tenant, name)
        offer = device and actions.offer_of(session, device, rules)
        if not device or not offer or offer.kind != DEPLOY or offer.action_id is None:
            return None
        _, _, attempt = actions.expect(session, tenant, name, offer.action_id, rules=rules)
        return attempt.firmware if attempt.firmware_id == module else None

    return router


async def _answered(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` in a thread; its errors become responses."""
    try:
        return await run_in_threadpool(work, *arguments)
    except ActionError as error:
        raise HTTPException(error.status, str(error)) from None
    except device_messages.FeedbackError as error:
        raise HTTPException(400, str(error)) from None
    except UserError as error:
        raise HTTPException(error.status, str(error)) from None


async def _body(request: Request) -> bytes:
    try:
        return await request.body()  # bounded by Admission
    except ClientDisconnect:
        raise HTTPException(400, "the request was interrupted") from None


def _json(found: dict[str, Any]) -> Response:
    return JSONResponse(found, media_type="application/hal+json")


def _number(text: str) -> int:
    number = int(text) if re.fullmatch("[0-9]{1,10}", text, re.ASCII) else 0
    if not 0 < number <= ACTION_MOST:
        raise HTTPException(404, "the id of the action or the module is not valid")
    return number


@functools.lru_cache(maxsize=256)
def _sha1(store: FileStore, sha256: str) -> str:
    """Hash a stored file, which never changes. Raises ActionError if that is not possible."""
    made = hashlib.sha1(usedforsecurity=False)
    try:
        with store.local(sha256) as path, path.open("rb") as file:
            while data := file.read(1 << 20):
                made.update(data)
    except FileNotFoundError:
        raise ActionError("the firmware no longer exists") from None
    except OSError as error:
        raise ActionError(f"the firmware cannot be read: {error.strerror}", 503) from None
    return made.hexdigest()
