"""What the form of a new campaign says, field by field, as the API's own order."""

from __future__ import annotations

import datetime
import re

from ...common.durations import seconds
from ..accounts.users import UserError
from ..api.fleet_schemas import CampaignIn, StageIn
from ..rollout.device_query import QueryError, parse
from .request_context import whole

DEFAULTS = {
    "name": "",
    "firmware": "",
    "query": "",
    "stages": "1, 10 %, 100 %",
    "success": "95",
    "soak": "10 min",
    "stop": "10",
    "least": "10",
    "timeout": "1 d",
    "at_once": "",
    "per_minute": "",
    "only_outdated": "on",
    "start": "now",
    "start_at": "",
}


def read(given: dict[str, str]) -> CampaignIn:
    """Raises UserError, ValidationError."""
    firmware_id = whole(given["firmware"])
    if not firmware_id:
        raise UserError("choose the firmware")
    return CampaignIn(
        name=given["name"],
        firmware_id=firmware_id,
        query=terms(given["query"]),
        stages=_stages(given["stages"]),
        success_share=_share(given["success"], "success threshold") or 0.0,
        soak_s=_span(given["soak"], "additional wait") or 0.0,
        stop_share=_share(given["stop"], "stop threshold"),
        stop_least=_whole(given["least"], "minimum finished devices") or 1,
        timeout_s=_span(given["timeout"], "timeout"),
        active_most=_whole(given["at_once"], "maximum downloads at a time"),
        starts_per_min=_whole(given["per_minute"], "maximum new downloads per minute"),
        only_outdated=bool(given["only_outdated"]),
        draft=given["start"] == "draft",
        start_at=_time(given["start_at"]) if given["start"] == "at" else None,
    )


def terms(text: str) -> str:
    """Names without `name:`, as the fleet's search takes them, are not what a campaign takes.

    Raises UserError.
    """
    try:
        parse(text)
    except QueryError as error:
        raise UserError(str(error)) from None
    return text


def _stages(text: str) -> list[StageIn]:
    found = []
    for part in filter(None, (each.strip() for each in re.split(r"[,;]", text))):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(%?)", part)
        if match is None or (not match[2] and "." in match[1]):
            raise UserError(
                f"{part!r} is not a valid stage: use numbers or percentages, as in 1, 10 %, 100 %"
            )
        found.append(
            StageIn(percent=float(match[1])) if match[2] else StageIn(count=int(match[1]))
        )
    return found


def _share(text: str, what: str) -> float | None:
    if not text:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%?", text)
    if match is None or float(match[1]) > 100:
        raise UserError(f"{what}: enter a percentage from 0 to 100, not {text!r}")
    return float(match[1]) / 100


def _span(text: str, what: str) -> float | None:
    if not text or text == "0":
        return None
    try:
        return seconds(re.sub(r" (?=[a-z])", "", text))
    except ValueError:
        raise UserError(
            f"{what}: enter a duration such as 30 s, 10 min, 2 h or 1 d, not {text!r}"
        ) from None


def _whole(text: str, what: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        raise UserError(f"{what}: enter a whole number above 0, not {text!r}")
    return int(text)


def _time(text: str) -> float:
    """As a browser's field gives it, in UTC."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UserError("start: choose a date and time") from None
    return at.replace(tzinfo=datetime.timezone.utc).timestamp()
