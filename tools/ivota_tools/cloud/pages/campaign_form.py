"""Convert the fields of the new-campaign form into the API's own input."""

from __future__ import annotations

from ...common import campaign_options as options
from ...common import times
from ..accounts.users import UserError
from ..api.campaign_schemas import CampaignIn, StageIn
from ..rollout.device_query import QueryError, expect_words
from .page_visit import one_of, whole

NOW, DRAFT, AT = "now", "draft", "at"
ON, OFF = "on", "off"  # a box whose empty state is sent, too
DEFAULTS = {
    "name": "",
    "firmware": "",
    "query": "all",
    "stages": options.STAGES,
    "success": options.SUCCESS,
    "soak": options.SOAK,
    "stop": options.STOP,
    "stop_on": options.STOP_ON,
    "least": str(options.LEAST),
    "timeout": options.TIMEOUT,
    "at_once": "",
    "per_minute": "",
    "only_outdated": ON if options.ONLY_OUTDATED else OFF,
    "include_mismatched": "",
    "start": NOW,
    "start_at": "",
}
BOXES = ("include_mismatched",)  # sent only if they are checked


def read(given: dict[str, str]) -> CampaignIn:
    """Return the campaign that the form describes.

    An empty field is rejected if a default would make a decision for the operator. Raises
    UserError, OptionError, ValidationError.
    """
    firmware_id = whole(given["firmware"])
    if not firmware_id:
        raise UserError("choose the firmware")
    start = one_of((NOW, DRAFT, AT), given["start"], "choose when the campaign starts")
    if start == NOW and given["start_at"]:
        raise UserError("start: choose Schedule, or clear the time")
    outdated = one_of((ON, OFF), given["only_outdated"], "choose which versions to update")
    return CampaignIn(
        name=given["name"],
        firmware_id=firmware_id,
        query=terms(given["query"]),
        stages=[StageIn(**each) for each in options.stages(given["stages"])],
        success_share=_share(given["success"], "success threshold") or 0.0,
        soak_s=_span(given["soak"], "additional wait") or 0.0,
        stop_share=_share(given["stop"], "stop threshold", never=True),
        stop_on=one_of(options.STOPS, given["stop_on"], "choose what counts as a failure"),
        stop_least=_whole(_filled(given["least"], "minimum finished devices"),
                          "minimum finished devices") or 1,
        timeout_s=_span(given["timeout"], "timeout", never=True),
        active_most=_whole(given["at_once"], "maximum downloads at a time"),
        starts_per_min=_whole(given["per_minute"], "maximum new downloads per minute"),
        only_outdated=outdated == ON,
        include_mismatched=bool(given["include_mismatched"]),
        draft=start == DRAFT,
        start_at=_time(given["start_at"]) if start == AT else None,
    )  # fmt: skip


def terms(text: str) -> str:
    """Return a campaign's query; it must not contain the bare names that the fleet search accepts.

    Raises UserError.
    """
    try:
        expect_words(text)
    except QueryError as error:
        raise UserError(str(error)) from None
    return text


def _filled(text: str, what: str, never: bool = False) -> str:
    if not text:
        or_never = f", or “{options.NEVER}”" if never else ""
        raise UserError(f"{what}: enter a value{or_never}")
    return text


def _share(text: str, what: str, never: bool = False) -> float | None:
    if _filled(text, what, never) == options.NEVER and never:
        return None
    # The form shows a percent sign after the field.
    number = text if text.endswith("%") else f"{text} %"
    try:
        return options.share(number)
    except options.OptionError:
        raise UserError(f"{what}: enter a percentage from 0 to 100, not {text!r}") from None


def _span(text: str, what: str, never: bool = False) -> float | None:
    if _filled(text, what, never) == options.NEVER and never:
        return None
    if text == "0":
        return 0.0
    try:
        return options.span(text)
    except options.OptionError:
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
    """Parse a time as a browser's field sends it, in UTC."""
    try:
        return times.parse(text)
    except ValueError:
        raise UserError("start: choose a date and time") from None
