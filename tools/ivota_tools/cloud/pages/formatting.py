"""Format times, sizes, codes and rejections in words."""

from __future__ import annotations

import json
import time

from markupsafe import Markup, escape
from pydantic import ValidationError

# Used by the templates, too.
from ...common.audit_details import detail as detail
from ...common.durations import ago as ago
from ...common.durations import span as span
from ...common.quantities import number as number
from ...common.quantities import size as size
from ..api import validation_messages
from ..rollout.result_codes import code as code

KINDS = {"bundle": "application", "esp32-image": "ESP32 image"}


def kind(name: str) -> str:
    """Return the kind of a firmware file in words."""
    return KINDS.get(name, "other file")


def exact(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def moment(at: float | None, both: bool = False) -> Markup:
    """Return a time element: in words, with the exact time in its title or next to it."""
    if at is None:
        return Markup('<span class="quiet">never</span>')
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    words = Markup('<time datetime="{}" title="{}">{}</time>').format(iso, exact(at), ago(at))
    if not both:
        return words
    shown = Markup('<time datetime="{}" class="exact">{}</time>').format(iso, exact(at))
    return words + Markup(' <span class="quiet">(') + shown + Markup(")</span>")


def clock(at: float) -> Markup:
    """Return the time of day, for lists of consecutive events."""
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    day, hour = time.strftime("%Y-%m-%d|%H:%M:%S UTC", time.gmtime(at)).split("|")
    return Markup('<time datetime="{}" class="clock" title="{}"><span class="quiet">{}</span> {}'
                  "</time>").format(iso, exact(at), day, hour)  # fmt: skip


def tick(at: float, days: bool, zone: bool = False) -> Markup:
    """Return a time for an axis: a date or a time of day, with the zone where it is wanted."""
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    words = time.strftime("%m-%d" if days else "%H:%M", time.gmtime(at))
    kind = ("day" if days else "hour") + (" zone" if zone else "")
    return Markup('<time datetime="{}" class="tick" data-tick="{}">{}{}</time>').format(
        iso, kind, words, " UTC" if zone else ""
    )


def percent(share: float) -> str:
    """Format a share; an incomplete one never rounds up to 100 %, nor a positive one to 0 %."""
    value = 100 * share
    if 0 < value < 1:
        return "< 1 %"
    if 99 <= value < 100:
        return "> 99 %" if value > 99 else "99 %"
    return f"{value:.0f} %"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 device, 2 devices."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def breakable(text: str) -> Markup:
    """Let a long name wrap after its separators."""
    shown = escape(text)
    for mark in ("/", "_", "-", "."):
        shown = Markup(str(shown).replace(mark, mark + "<wbr>"))
    return shown


_FIELDS = {
    "active_most": "maximum downloads at a time",
    "count": "stages",
    "percent": "stages",
    "soak_s": "additional wait",
    "start_at": "start",
    "starts_per_min": "maximum new downloads per minute",
    "stop_least": "minimum finished devices",
    "timeout_s": "timeout",
}


def refusal(error: Exception) -> str:
    """Explain what is wrong with a form, using the labels of its fields."""
    if not isinstance(error, ValidationError):
        return sentence(str(error))
    problem = error.errors()[0]
    field = validation_messages.field(problem)
    text = validation_messages.text(problem, span if field.endswith("_s") else number)
    label = _FIELDS.get(field, field)
    return sentence(f"{label}: {text}" if label else text)


def sentence(text: str) -> str:
    """Return a message as a sentence, with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else text + "."


def indented(value: object) -> str:
    """Return JSON that is indented for people to edit."""
    return json.dumps(value, ensure_ascii=False, indent=2)
