"""Deliver one message to one webhook, signed as Standard Webhooks specifies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence

import httpx

from .webhook_settings import Target, Webhooks

TIMEOUT_S = 10.0  # for a whole delivery, however slowly the receiver answers
ERROR_MOST = 256  # characters


def headers(secret: str, name: str, now: float, body: str) -> dict[str, str]:
    """Return the headers that sign a message; `name` is its id."""
    moment = f"{now:.0f}"
    signed = hmac.digest(secret.encode(), f"{name}.{moment}.{body}".encode(), hashlib.sha256)
    return {
        "content-type": "application/json",
        "user-agent": "ivota",
        "webhook-id": name,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


class Delivery:
    """Sends messages; one object for a thread."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._tls = httpx.create_ssl_context()  # slow to create

    def post(self, target: Target, name: str, body: str) -> str | None:
        """Send a message; return why the target did not take it, or None."""
        return self.post_all([target], name, body)[0]

    def post_all(self, targets: Sequence[Target], name: str, body: str) -> list[str | None]:
        """Send a message to all targets at the same time; return each one's problem or None."""

        async def send() -> list[str | None]:
            return await asyncio.gather(*(self._within(each, name, body) for each in targets))

        return asyncio.run(send())

    async def _within(self, target: Target, name: str, body: str) -> str | None:
        try:
            code = await asyncio.wait_for(self._send(target, name, body), TIMEOUT_S)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"[:ERROR_MOST]
        except asyncio.TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        return None if 200 <= code < 300 else f"HTTP {code}"

    async def _send(self, target: Target, name: str, body: str) -> int:
        signed = headers(self._secret, name, time.time(), body)
        # Redirects could lead into the cloud's own network, and proxies see every message.
        async with (
            httpx.AsyncClient(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=self._tls
            ) as client,
            # The body of the answer is of no use, however long it is.
            client.stream("POST", target.url, content=body.encode(), headers=signed) as answer,
        ):
            return answer.status_code


def send_test(webhooks: Webhooks, body: str) -> list[tuple[str, str | None]]:
    """Send a message now, once; return each webhook's host and its problem or None."""
    name = f"ivota_test_{secrets.token_hex(8)}"
    problems = Delivery(webhooks.secret).post_all(webhooks.targets, name, body)
    return [
        (target.host, problem) for target, problem in zip(webhooks.targets, problems, strict=True)
    ]
