"""Versions that look like paths."""

from ..target import Mistake, Target


def seeds() -> dict[str, bytes]:
    texts = {
        "good": "0.2",
        "good-long": "v" * 32,
        "good-signs": "A-z_0.9",
        "up": "../../boot",
        "absolute": "/boot",
        "hidden": ".x",
        "dots": "..",
        "dot": ".",
        "folder": "a/b",
        "backslash": "a\\b",
        "blank": "0.2 beta",
        "long": "v" * 33,
        "not-ascii": "0.2\u2013\u00fc\u4e2d",
        "other-digits": "\u0661\u0662",
        "full-width": "\uff10\uff0e\uff12",
        "nul": "a\0b",
        "newline": "a\n",
        "quoted": '"quoted"',
        "format": "%s%d{}",
        "temporary": "0.2.json~",
        "empty": "",
    }
    found = {name: text.encode() for name, text in texts.items()}
    return found | {"not-utf8": b"\xff", "surrogate": b"\xed\xa0\x80"}


TARGET = Target(
    about="a version used as a file name",
    code=("lib/ivota/firmware_folder.py",),
    seeds=seeds,
    most=128,
    words=("../", "/", "..", "\\\\"),
    mistakes=(
        Mistake(
            "accepts hidden files", (("lib/ivota/firmware_folder.py", " and name[0] != 46", ""),)
        ),
        Mistake(
            "accepts folders",
            (("lib/ivota/firmware_folder.py", '0123456789._-"', '0123456789._-/"'),),
        ),
    ),
)
