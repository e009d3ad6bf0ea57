"""The JSON of a bundle's file list, whatever its shape."""

import json
from typing import Any

from .. import mutate
from ..archives import listed
from ..target import Mistake, Target
from .bundle import FILES


def seeds() -> dict[str, bytes]:
    good = listed(FILES)
    return {
        "good": good,
        "good-list-first": b'{"files": [{"path": "a]}\\"", "size": 1}], "version": "0.2"}',
        "good-no-files": listed({}),
        "good-escapes": b'{"files": [{"path": "\\\\", "x": "\\"}]"}, {}], "v": "[{\\\\"}',
        "braces-in-a-text": b'{"version": "}{][", "files": [{"path": "{{{"}]}',
        "nested": b'{"files": [{"a": {"b": [{"c": 1}]}}]}',
        "not-closed": good[:-2],
        "closed-too-often": good + b"}}}]]]",
        "a-list": b"[{}, {}]",
        "deep": b'{"a":' * 90,
        "deep-lists": b'{"files": ' + b"[" * 400,
        "text-not-closed": b'{"files": [{"path": "',
        "backslashes": b'{"a": "' + b"\\" * 333,
        "key-twice": b'{"files": [{"a": 1, "a": 2}], "files": []}',
        "surrogate": b'{"files": [{"path": "\\ud800"}]}',
        "not-utf8": b'{"files": [{"path": "\xff"}]}',
        "nul": b'{"files": [{"path": "\0"}]}\0',
        "number-huge": b'{"files": [{"size": ' + b"9" * 400 + b"}]}",
        "empty": b"",
        "null": b"null",
    }


def reference(data: bytes) -> tuple[list[Any], dict[str, Any]] | None:
    """Of a list of the right shape."""
    try:
        value = json.loads(data, object_pairs_hook=_once)
        files = value.pop("files")
        flat = [*value.values(), *(each for entry in files for each in entry.values())]
        whole = isinstance(files, list) and all(isinstance(entry, dict) for entry in files)
        if whole and all(type(each) in (str, int, bool, type(None)) for each in flat):
            json.dumps([value, files], ensure_ascii=False).encode()  # whether it has UTF-8
            return files, {**value, "files": []}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


TARGET = Target(
    about="a bundle's file list in pieces",
    code=("lib/ivota/filelist.py",),
    seeds=seeds,
    reference=reference,
    most=512,
    compares=False,
    mutate=mutate.a_json,
    words=('"files": [', '{"path": "', '\\\\"', "}, {", "]}"),
    mistakes=(
        Mistake(
            "an escaped quotation mark ends a text",
            (("lib/ivota/filelist.py", "text = escaped or byte != 34", "text = byte != 34"),),
        ),
        Mistake(
            "brackets in a text count",
            (
                (
                    "lib/ivota/filelist.py",
                    "            if text:\n                pass\n",
                    "            if False:\n                pass\n",
                ),
            ),
        ),
    ),
)
