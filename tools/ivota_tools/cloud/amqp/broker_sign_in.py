"""Answer RabbitMQ, which asks about each sign-in of a device and about each topic it uses.

RabbitMQ's plugin `rabbitmq_auth_backend_http` sends forms to four paths and expects "allow" or
"deny". The paths contain a key, so that nobody else can try passwords here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse

from ..mqtt.device_budget import PACKET_MOST
from ..mqtt.device_sign_in import Credentials
from ..mqtt.messages import report_topic, update_topic
from ..mqtt.topic_prefix import TopicPrefix
from . import topology

PREFIX = "/rabbitmq/"
CONF = "rabbitmq-sign-in.conf"
QUESTIONS = ("user", "vhost", "resource", "topic")

Form = dict[str, str]


class BrokerSignIn:
    """`secret` is the cloud's own; `virtual_host` is where devices may connect.

    A device can use its own two topics and its own MQTT session, and nothing else.
    """

    def __init__(
        self,
        credentials: Credentials,
        secret: bytes,
        prefix: TopicPrefix,
        virtual_host: str,
    ) -> None:
        self._credentials, self._prefix = credentials, prefix
        self._virtual_host = virtual_host
        self.key = hmac.new(secret, b"rabbitmq sign-in", hashlib.sha256).hexdigest()[:40]

    def write_settings(self, folder: Path, url: str) -> Path:
        """Write the lines for rabbitmq.conf, with the cloud at `url`; return the file."""
        lines = ["auth_backends.1 = http", "auth_backends.2 = internal"]
        lines.append("auth_http.http_method = post")
        lines += [f"auth_http.{each}_path = {url}{PREFIX}{self.key}/{each}" for each in QUESTIONS]
        lines.append(f"mqtt.max_packet_size_authenticated = {PACKET_MOST}")  # instead of 16 MiB
        path = folder / CONF
        new = path.with_name(f"{CONF}.new")
        with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("\n".join([*lines, ""]))
        new.replace(path)
        return path

    def user(self, form: Form) -> bool:
        user, password = form.get("username", ""), form.get("password", "")
        client_id = user.partition(";")[0]
        # The session belongs to the client id, so another device must not name it.
        if form.get("client_id", client_id) != client_id:
            return False
        return self._credentials.check(client_id, user, password) is not None

    def vhost(self, form: Form) -> bool:
        return form.get("vhost") == self._virtual_host and bool(self._names(form))

    def resource(self, form: Form) -> bool:
        if form.get("vhost") != self._virtual_host or not self._names(form):
            return False
        name = form.get("name", "")
        if form.get("resource") == "exchange":
            return name == topology.TOPICS and form.get("permission") in ("read", "write")
        own = topology.session_queues(_client_id(form))
        return form.get("resource") == "queue" and name in own

    def topic(self, form: Form) -> bool:
        if form.get("vhost") != self._virtual_host or form.get("name") != topology.TOPICS:
            return False
        of = {"write": report_topic, "read": update_topic}.get(form.get("permission", ""))
        if of is None:
            return False
        own = {topology.routing_key(self._prefix.outward(of(*each))) for each in self._names(form)}
        return form.get("routing_key") in own

    def _names(self, form: Form) -> list[tuple[str, str]]:
        return self._credentials.names(_client_id(form))


def _client_id(form: Form) -> str:
    return form.get("username", "").partition(";")[0]


def routes(sign_in: BrokerSignIn) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    questions: dict[str, Callable[[Form], bool]] = {
        name: getattr(sign_in, name) for name in QUESTIONS
    }

    @router.post(PREFIX + "{key}/{question}")
    async def post_question(key: str, question: str, request: Request) -> PlainTextResponse:
        if not hmac.compare_digest(key.encode(), sign_in.key.encode()):
            raise HTTPException(404)
        if question not in questions:
            raise HTTPException(404)
        try:
            form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
            yes = await run_in_threadpool(questions[question], form)
        except (ValueError, SQLAlchemyError):
            yes = False  # RabbitMQ refuses; the device tries again
        return PlainTextResponse("allow" if yes else "deny")

    return router
