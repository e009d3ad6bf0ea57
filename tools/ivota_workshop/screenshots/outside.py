"""A console with a webhook and a channel, which need settings of the cloud."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.accounts.users import create
from ivota_tools.cloud.channel.channel_files import ChannelSetting
from ivota_tools.cloud.store.models import WebhookMessage
from ivota_tools.cloud.webhooks.webhook_settings import Webhooks
from ivota_tools.firmware.signing_keys import generate, load_private

from .releases import upload
from .scene import DAY, HOUR, PRODUCT

PAGES = {"webhooks": "/webhooks", "channels": "/channels"}
# The name never resolves, so nothing is sent.
URL, SECRET = "https://chat.greenhouse.invalid/ivota", "a secret for the pictures"


@contextmanager
def outside(folder: Path, user: str, password: str) -> Iterator[str]:
    """Serve the console for the duration of the block; yield its address."""
    generate(folder / "online.key", None)
    online = load_private(folder / "online.key", str)
    (folder / "offered").mkdir()
    generate(folder / "offered" / "owner.key", None)
    owner = load_private(folder / "offered" / "owner.key", str)
    channel = ChannelSetting(PRODUCT, (owner.public,), online)
    with Cloud(
        folder / "outside", webhooks=[URL], webhook_secret=SECRET, channels=[channel]
    ) as cloud:
        with cloud.database.writing() as session:
            create(session, user, password, "admin", time.time(), user)
        token = local_token(cloud.folder)
        firmware = upload(folder / "offered", cloud.api_url, token, owner)
        with Client(cloud.api_url, token) as client:
            client.offer_in_channel(PRODUCT, firmware[1])
            client.offer_in_channel(PRODUCT, firmware[2], share=20)
        (target,) = Webhooks.of((URL,), SECRET).targets
        with cloud.database.writing() as session:
            for event, age, tries, given_up in (
                ("campaign.stopped", 2 * DAY, 15, True),
                ("devices.failed", HOUR, 6, False),
            ):
                session.add(
                    WebhookMessage(
                        at=time.time() - age,
                        target=target.name,
                        host=target.host,
                        event=event,
                        body="{}",
                        tries=tries,
                        next_at=None if given_up else time.time() + HOUR / 2,
                        error="the server answered 503",
                    )
                )
        yield cloud.api_url
