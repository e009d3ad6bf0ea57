"""Parse and create the cloud's messages, in pure functions (docs/protocol.md).

Messages from devices are parsed tolerantly and never trusted. Messages to devices match the
vendor's cloud exactly: integers where it sends integers, MD5 in lower case, `user_defined` never
empty.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ...firmware.esp32_image import chip_name

REPORT_FILTER = "$ota/report/#"
REPORT_PREFIX = "$ota/report/"
UPDATE_PREFIX = "$ota/update/"
URL_MOST = 999  # characters; some clients keep a buffer of 1,000
# A board says how many bytes it accepts in a message; this is what a push has besides its URL.
REST_MOST = 320
LEAST, MOST = 512, 8192  # bytes of a message; other values are not believed
NAME_MOST = 128  # characters of a product id, and of a device name
VERSION_MOST = 128  # stored characters of a reported version; targets have at most 32
HARDWARE_MOST = 64  # characters of a hardware's name
CHIP_MOST = 0xFFFF  # an image has two bytes for the number of its chip
MESSAGE_MOST = 256  # characters kept of a result_msg
# Seconds between two reports of the version, as boards accept them (message_handler.py).
INTERVAL_LEAST_S, INTERVAL_MOST_S = 10, 86400

REPORT_VERSION = "report_version"
REPORT_PROGRESS = "report_progress"
REPORT_NOTICE = "report_notice"  # ivota's own: why a push has no effect
WATCHDOG = "the watchdog reset the board"  # the words of a notice, in lib/ivota/report_queue.py
UNKNOWN = "unknown"
GARBLED = "garbled"
STATES = ("downloading", "burning", "done", "fail")

_INTEGER = re.compile(r"-?[0-9]{1,9}")
# Without escapes: MicroPython's parser leaves the two of a character beyond the BMP apart.
# Some clients search the text for `"type":"…"`, and take what they find between two quotes as it
# stands: no blanks, and no escapes that JSON can do without.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class Report(NamedTuple):
    """A parsed message. `kind` is one of the constants above, from REPORT_VERSION."""

    kind: str
    version: str | None = None
    state: str | None = None
    percent: int | None = None
    result_code: int | None = None
    result_msg: str | None = None
    # What the board runs and its hardware, if its version report contains them.
    application: str | None = None
    hardware: str | None = None
    message_most: int | None = None  # bytes of the longest message that it accepts
    chip: str | None = None  # of an ESP32


def device_of(topic: str) -> tuple[str, str] | None:
    """Return (product id, device name) of a report topic, or None if it is not valid.

    The name is everything after the product id, including any slashes.
    """
    if not topic.startswith(REPORT_PREFIX):
        return None
    product_id, _, device_name = topic[len(REPORT_PREFIX) :].partition("/")
    if not (0 < len(product_id) <= NAME_MOST and 0 < len(device_name) <= NAME_MOST):
        return None
    if not (product_id.isprintable() and device_name.isprintable()):
        return None
    return product_id, device_name


def report_topic(product_id: str, device_name: str) -> str:
    return f"{REPORT_PREFIX}{product_id}/{device_name}"


def update_topic(product_id: str, device_name: str) -> str:
    return f"{UPDATE_PREFIX}{product_id}/{device_name}"


def read_report(payload: bytes) -> Report:
    """Parse a message; never raises. Invalid messages are returned as UNKNOWN or GARBLED."""
    try:
        message = json.loads(payload.decode())
        kind, report = message["type"], message.get("report")
        if kind == REPORT_VERSION:
            return Report(
                kind,
                version=_version(report["version"]),
                application=clean_name(report.get("application"), NAME_MOST),
                hardware=clean_name(report.get("hardware"), HARDWARE_MOST),
                message_most=_message_most(report.get("max_message_bytes")),
                chip=_chip(report.get("chip_id")),
            )
        if kind == REPORT_PROGRESS:
            return _progress(report)
        if kind == REPORT_NOTICE:
            return _notice(report)
    # RecursionError: thousands of opening brackets. The others: wrong bytes, JSON, keys or types.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Report(GARBLED)
    return Report(UNKNOWN)


def _progress(report: dict[str, Any]) -> Report:
    progress = report["progress"]
    state = progress["state"]
    if state not in STATES:
        return Report(UNKNOWN)
    percent = _integer(progress.get("percent"))
    return Report(
        REPORT_PROGRESS,
        version=_version(report["version"]),
        state=state,
        percent=None if percent is None else min(max(percent, 0), 100),
        result_code=_integer(progress.get("result_code")),
        result_msg=clean_text(progress.get("result_msg")),
    )


def _notice(report: dict[str, Any]) -> Report:
    version, words = report.get("version"), clean_text(report["message"])
    wait_s = _integer(report.get("wait_s"))
    if words is not None and wait_s is not None:
        words = f"{words} ({wait_s} s more)"
    return Report(
        REPORT_NOTICE, version=None if version is None else _version(version), result_msg=words
    )


def _version(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= VERSION_MOST or not value.isprintable():
        raise ValueError("the version is missing or not valid")
    return value


def clean_name(value: object, most: int) -> str | None:
    """Return a name that an operator can use in a query, or None."""
    usable = isinstance(value, str) and 0 < len(value) <= most and value.isprintable()
    return str(value) if usable else None


def _message_most(value: object) -> int | None:
    found = _integer(value)
    return None if found is None or found < LEAST else min(found, MOST)


def _chip(value: object) -> str | None:
    """Return the name of a chip from its number in an image, or None."""
    number = _integer(value)
    return None if number is None or not 0 <= number <= CHIP_MOST else chip_name(number)


def _integer(value: object) -> int | None:
    """Return a string field as text; numbers are accepted, although the format has strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 1_000_000_000 else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return None


def clean_text(value: object) -> str | None:
    """Remove control characters and lone surrogates, for the database and terminals."""
    if not isinstance(value, str):
        return None
    kept = value[:MESSAGE_MOST]
    return kept if kept.isprintable() else "".join(c if c.isprintable() else "?" for c in kept)


def version_answer(version: str, report_interval_s: int | None = None) -> bytes:
    """Create an answer; `report_interval_s` is only for ivota's boards."""
    answer = {
        "type": "report_version_rsp",
        "result_code": 0,
        "result_msg": "success",
        "version": version,
        # ivota's boards also send messages to this cloud that the vendor's protocol lacks.
        "cloud": "ivota",
    }
    if report_interval_s is not None:
        answer["report_interval_s"] = report_interval_s
    return _encode(answer)


def url_most(message_most: int | None) -> int:
    """Return the maximum length of a URL for a device that accepts messages of this many bytes.

    None stands for a device that has not reported a limit.
    """
    return URL_MOST if message_most is None else message_most - REST_MOST


def update_firmware(version: str, url: str, file_size: int, md5: str) -> bytes:
    """Create a push; `url_most` is the maximum length of the URL."""
    return _encode(
        {
            "type": "update_firmware",
            "version": version,
            "url": url,
            "file_size": file_size,
            "md5sum": md5.lower(),
            # One reference client ignores a push in which this is missing or empty.
            "user_defined": "ivota",
        }
    )


def _encode(message: dict[str, Any]) -> bytes:
    return _ENCODER.encode(message).encode()
