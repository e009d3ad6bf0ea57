"""Messages from Aliyun's cloud to a board: a push, or the answer to a query."""

import json

from .. import mutate
from ..target import Mistake, Target

_DATA = {
    "size": 708482,
    "version": "0.2",
    "url": "https://h/f.bin",
    "md5": "36eb5951179db14a631463a37a9322a2",
    "sign": "36eb5951179db14a631463a37a9322a2",
    "signMethod": "Md5",
    "module": "default",
}


def _with(code: object = "1000", **changed: object) -> bytes:
    values = {key: value for key, value in {**_DATA, **changed}.items() if value != "none"}
    return json.dumps({"code": code, "data": values, "id": 1, "message": "success"}).encode()


def seeds() -> dict[str, bytes]:
    good = _with()
    return {
        "good": good,
        "good-answer": _with(200),
        "good-sign": _with(md5="none"),
        "no-update": b'{"code": 200, "data": {}, "id": "1"}',
        "other-module": _with(module="mcu"),
        "module-list": _with(module=["default"]),
        "code-list": _with([1000]),
        "code-true": _with(True),
        "code-fraction": _with(200.0),
        "size-2-to-63": _with(size=2**63),
        "size-text": _with(size="708482"),
        "size-true": _with(size=True),
        "sign-sha256": _with(md5="none", signMethod="SHA256"),
        "sign-method-list": _with(md5="none", signMethod=["md5"]),
        "sign-number": _with(md5="none", sign=5),
        "version-nul": _with(version="\0"),
        "version-surrogate": _with(version="\ud800"),
        "url-list": _with(url=[]),
        "data-list": b'{"code": 200, "data": [1]}',
        "data-text": b'{"code": 200, "data": "size"}',
        "data-twice": good[:-1] + b', "data": 5}',
        "deep": b'{"data":' * 500,
        "our-own": b'{"type": "update_firmware", "version": "0.2"}',
        "a-list": b"[]",
        "nothing": b"",
    }


TARGET = Target(
    about="Aliyun's push, JSON of any shape",
    code=("lib/ivota/aliyun.py", "lib/ivota/message_handler.py"),
    seeds=seeds,
    mutate=mutate.a_json,
    words=tuple(f'"{key}": ' for key in (*_DATA, "code", "data")),
    mistakes=(
        Mistake(
            "accepts a list as data",
            (("lib/ivota/aliyun.py", " or not isinstance(data, dict)", ""),),
        ),
        Mistake(
            "accepts any size",
            (
                (
                    "lib/ivota/message_handler.py",
                    "type(size) is not int or size <= 0",
                    "type(size) is not int",
                ),
            ),
        ),
    ),
)
