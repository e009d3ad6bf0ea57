"""The cloud's messages to a board, as JSON of any structure: a push, or an answer."""

import json

from .. import mutate
from ..target import Mistake, Target

_PUSH = {
    "type": "update_firmware",
    "version": "0.2",
    "url": "http://127.0.0.1/f.bin?sign=1",
    "file_size": 708482,
    "md5sum": "36eb5951179db14a631463a37a9322a2",
    "user_defined": "x",
}


_ANSWER = {
    "type": "report_version_rsp",
    "result_code": 0,
    "version": "0.1",
    "cloud": "ivota",
    "report_interval_s": 3600,
}


def _with(**changed: object) -> bytes:
    return json.dumps({**_PUSH, **changed}).encode()


def _answer(**changed: object) -> bytes:
    return json.dumps({**_ANSWER, **changed}).encode()


def seeds() -> dict[str, bytes]:
    whole = _with()
    return {
        "good": whole,
        "good-echoed": _with(fw_type="mcu", task_id=4711),
        "echo-long": _with(task_id="\1" * 600),
        "echo-nested": _with(task_id=[{"a": [1]}], fw_type={"b": None}),
        "upper-case-md5": _with(md5sum="36EB5951179DB14A631463A37A9322A2"),
        "runs-already": _with(version="0.1"),
        "rejected-before": _with(md5sum="0" * 32),
        "other-type": _with(type="report_version_rsp"),
        "type-is-a-list": _with(type=["update_firmware"]),
        "size-2-to-63": _with(file_size=2**63),
        "size-huge": _with(file_size=10**300),
        "size-negative": _with(file_size=-(2**63)),
        "size-true": _with(file_size=True),
        "size-fraction": _with(file_size=1.5),
        "size-infinite": whole.replace(b"708482", b"1e999"),
        "size-text": _with(file_size="708482"),
        "size-zero": _with(file_size=0),
        "version-nul": _with(version="a\0b"),
        "version-surrogate": whole.replace(b"0.2", b"\\ud800"),
        "version-surrogate-pair": whole.replace(b"0.2", b"\\ud83d\\ude00"),
        "version-surrogate-bytes": whole.replace(b"0.2", b"\xed\xa0\x80"),
        "version-path": _with(version="../../boot.py"),
        "version-long": _with(version="v" * 65),
        "version-longest": _with(version="é" * 64),
        "version-number": _with(version=2),
        "url-null": _with(url=None),
        "md5-not-hex": _with(md5sum="g" * 32),
        "md5-other-digits": _with(md5sum="\u0661" * 32),
        "md5-nul": _with(md5sum="\0" * 32),
        "echo-surrogate": _with(task_id="\ud800", fw_type="\udfff"),
        "key-twice": whole[:-1] + b', "version": 3}',
        "size-twice": whole[:-1] + b', "file_size": -1}',
        "deep-lists": b"[" * 4096,
        "deep-objects": b'{"a":' * 800,
        "deep-in-a-push": whole[:-1] + b', "task_id": ' + b"[" * 1500 + b"]" * 1500 + b"}",
        "not-utf8": b'{"type": "\xff\xfe"}',
        "nul": b"\0",
        "empty": b"",
        "a-list": b"[]",
        "no-colons": b'{"type" "update_firmware" "version" "0.2"}',
        "good-answer": _answer(),
        "answer-of-another-cloud": _answer(cloud="other"),
        "answer-often": _answer(report_interval_s=9),
        "answer-rarely": _answer(report_interval_s=86401),
        "answer-true": _answer(report_interval_s=True),
        "answer-fraction": _answer(report_interval_s=1e9),
        "answer-huge": _answer(report_interval_s=2**70),
        "answer-text": _answer(report_interval_s="60"),
        "wrong-brackets": b'{"type": "update_firmware"]',
    }


TARGET = Target(
    about="update_firmware, JSON of any shape",
    code=("lib/ivota/message_handler.py", "lib/ivota/tencent.py"),
    seeds=seeds,
    mutate=mutate.a_json,
    words=tuple(f'"{key}"' for key in {**_PUSH, **_ANSWER})
    + ("update_firmware", "\\\\ud800", "true", "null"),
    mistakes=(
        Mistake(
            "accepts a size of 0",
            (
                (
                    "lib/ivota/message_handler.py",
                    "type(size) is not int or size <= 0",
                    "type(size) is not int",
                ),
            ),
        ),
        Mistake(
            "accepts true as a number",
            (
                (
                    "lib/ivota/message_handler.py",
                    "type(size) is not int or",
                    "not isinstance(size, (int, bool)) or",
                ),
            ),
        ),
        Mistake(
            "accepts half a surrogate pair as a version",
            (
                (
                    "lib/ivota/message_handler.py",
                    "ValueError:\n        return False",
                    "ValueError:\n        pass",
                ),
            ),
        ),
        Mistake(
            "echoes anything",
            (("lib/ivota/message_handler.py", "in (int, str):", "in (int, str, list):"),),
        ),
        Mistake(
            "takes any interval",
            (("lib/ivota/message_handler.py", "seconds if fits else 0", "seconds"),),
        ),
        Mistake(
            "echoes without limit",
            (("lib/ivota/message_handler.py", "return len(data) <= _MOST", "return True"),),
        ),
    ),
)
