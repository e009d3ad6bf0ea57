"""Reports to the cloud from devices, or from clients that claim to be devices."""

import json
import random
from typing import Any

from .. import mutate
from ..target import Mistake, Target

_TOPIC = b"$ota/report/P/d\n"
_PROGRESS: dict[str, Any] = {
    "progress": {"state": "downloading", "percent": "10", "result_code": "0", "result_msg": "x"},
    "version": "0.2",
}


def _report(report: object, kind: object = "report_progress") -> bytes:
    return _TOPIC + json.dumps({"type": kind, "report": report}).encode()


def _progress(**changed: object) -> bytes:
    return _report({**_PROGRESS, "progress": {**_PROGRESS["progress"], **changed}})


def seeds() -> dict[str, bytes]:
    version = _report({"version": "0.1"}, "report_version")
    payload = version.partition(b"\n")[2]
    return {
        "good": version,
        "good-progress": _progress(),
        "good-fail": _progress(state="fail", result_code="-5", result_msg="why"),
        "numbers": _progress(percent=10, result_code=-1),
        "percent-huge": _progress(percent="9" * 400),
        "percent-large": _progress(percent=10**9 - 1),
        "percent-negative": _progress(percent="-5"),
        "percent-true": _progress(percent=True),
        "percent-fraction": _progress(percent=1.5),
        "percent-other-digits": _progress(percent="\u0661"),
        "code-2-to-63": _progress(result_code=2**63),
        "code-newline": _progress(result_code="5\n"),
        "message-long": _progress(result_msg="x" * 3000),
        "message-nul": _progress(result_msg="a\0b\x1b[31m"),
        "message-surrogate": _progress(result_msg="\ud800"),
        "message-list": _progress(result_msg=["x"]),
        "state-other": _progress(state="hacked"),
        "state-list": _progress(state=[]),
        "state-object": _progress(state={}),
        "version-long": _report({"version": "v" * 129}, "report_version"),
        "version-surrogate": _report({"version": "\ud800"}, "report_version"),
        "version-nul": _report({"version": "0\0"}, "report_version"),
        "version-number": _report({"version": 1}, "report_version"),
        "version-twice": version[:-1] + b', "report": {}}',
        "report-null": _report(None),
        "report-list": _report([]),
        "type-list": _report({}, ["report_version"]),
        "deep": _TOPIC + b"[" * 4000,
        "deep-objects": _TOPIC + b'{"type":' * 500,
        "not-utf8": _TOPIC + b"\xff\xfe",
        "infinite": _progress(percent=0).replace(b": 0,", b": 1e999,"),
        "not-a-number": _progress(percent=0).replace(b": 0,", b": NaN,"),
        "nothing": _TOPIC,
        "topic-of-others": b"$ota/update/P/d\n" + payload,
        "topic-with-slashes": b"$ota/report/P/d/e/../f\n" + payload,
        "topic-without-a-name": b"$ota/report/P/\n" + payload,
        "topic-without-a-product": b"$ota/report//d\n" + payload,
        "topic-wildcards": b"$ota/report/+/#\n" + payload,
        "topic-nul": b"$ota/report/P/\0\n" + payload,
        "topic-not-utf8": b"$ota/report/P/\xff\n" + payload,
        "topic-long": b"$ota/report/P/" + b"d" * 129 + b"\n" + payload,
        "topic-not-ascii": "$ota/report/P/\u00e4\u202e\n".encode() + payload,
    }


def change(data: bytes, chance: random.Random) -> bytes:
    topic, mark, payload = data.partition(b"\n")
    return topic + mark + mutate.a_json(payload, chance)


TARGET = Target(
    about="a device's report and its topic",
    code=("tools/ivota_tools/cloud/mqtt/messages.py",),
    device=False,
    seeds=seeds,
    mutate=change,
    words=("$ota/report/", '"state": ', '"percent": ', '"result_code": ', "report_version"),
    mistakes=(
        Mistake(
            "accepts any percentage",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/messages.py",
                    "min(max(percent, 0), 100)",
                    "percent",
                ),
            ),
        ),
        Mistake(
            "accepts a version of any type",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/messages.py",
                    " or not value.isprintable():\n        raise",
                    ":\n        raise",
                ),
            ),
        ),
        Mistake(
            "accepts JSON that is too deep",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/messages.py",
                    "AttributeError, RecursionError)",
                    "AttributeError)",
                ),
            ),
        ),
        Mistake(
            "accepts any name",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/messages.py",
                    "product_id.isprintable() and device_name.isprintable()",
                    "product_id.isprintable()",
                ),
            ),
        ),
    ),
)
