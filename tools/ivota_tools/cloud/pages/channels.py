"""Channels: what the cloud offers to boards that poll it without a broker."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts.roles import OPERATOR
from ..channel import publication
from ..channel.channel_files import ServedChannel
from ..channel.channel_status import status
from ..store.firmware_store import FirmwareError
from .firmware import chosen, uploaded
from .page_guard import acting, route
from .page_visit import Setting, Visit, whole

HERE = "/channels"


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, HERE, overview),
        route(setting, HERE + "/{id}/offer", acting(HERE, offer), method="POST",
              needed=OPERATOR),
        route(setting, HERE + "/{id}/end", acting(HERE, end), method="POST",
              needed=OPERATOR),
    ]  # fmt: skip


def overview(visit: Visit) -> Response:
    channels = visit.setting.channels.values()
    with visit.database.reading() as session:
        firmware = uploaded(session) if any(each.signing for each in channels) else []
    return visit.show(
        "channels.html",
        channels=[status(each, visit.setting.public_url()) for each in channels],
        firmware=firmware,
    )


def offer(visit: Visit) -> str:
    channel = _channel(visit)
    track, share = visit.said("track", 128), whole(visit.said("share"))
    number = chosen(visit)
    serial = visit.said("serial", 20)
    if not track:
        raise FirmwareError(422, "enter a track")
    if not (serial.isascii() and serial.isdigit()):
        raise FirmwareError(422, "the form is not valid: reload the page, and try again")
    publication.offer(
        channel,
        visit.database,
        visit.setting.store,
        number,
        visit.who,
        track=track,
        share=share,
        serial=int(serial),
    )
    boards = f"{share} % of the boards in the track {track}"
    return f"The channel of {channel.product} now offers the firmware to {boards}."


def end(visit: Visit) -> str:
    channel = _channel(visit)
    version = visit.said("version", 128)
    publication.end(channel, visit.database, version, visit.who, track=visit.said("track", 128))
    return f"The channel no longer offers {version}. Boards that run it keep it."


def _channel(visit: Visit) -> ServedChannel:
    product = visit.request.path_params["id"]
    if product not in visit.setting.channels:
        raise FirmwareError(404, f"the cloud serves no channel of {product!r}")
    return visit.setting.channels[product]
