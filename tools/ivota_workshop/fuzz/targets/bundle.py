"""A bundle: the archive and its file list, gone through side by side, then mounted."""

import json

from .. import archives
from ..archives import bundle, header, listed, member
from ..target import Bound, Mistake, Target

APP = b"def main():\n    pass\n"
FILES = {"app.py": APP, "config.json": b"{}", "lib/x/y.py": b"Y = 1\n"}


def _paths(name: str, **more: str) -> bytes:
    """A good bundle but for one path."""
    files = dict(sorted({**FILES, name: b"x"}.items()))
    return bundle(files)


def seeds() -> dict[str, bytes]:
    whole = bundle(FILES)
    huge = header("ivota.json", b"77777777777")
    entry = json.loads(listed(FILES))["files"]
    return {
        "good": whole,
        "good-one-file": bundle({"app.mpy": b"M\x06\0\x1f"}),
        "good-with-filler": whole + b"filler" * 10,
        "good-empty-file": bundle({"app.py": b""}),
        "no-end": bundle(FILES, end=b""),
        "path-up": _paths("../boot.py"),
        "path-up-inside": _paths("lib/../../boot.py"),
        "path-absolute": _paths("/boot.py"),
        "path-backslash": _paths("a\\..\\b"),
        "path-dot": _paths("./x"),
        "path-empty-part": _paths("lib//x"),
        "path-not-ascii": _paths("\u00e4.py"),
        "path-up-by-prefix": bundle({"app.py": APP}, end=b"")
        + member("boot.py", b"x", prefix="..")
        + bytes(1024),
        "not-listed": bundle(FILES, listed({"app.py": APP})),
        "listed-not-there": bundle({"app.py": APP}, listed(FILES)),
        "listed-twice": bundle(FILES, listed(FILES, files=[entry[0], *entry])),
        "other-order": bundle(dict(reversed(FILES.items()))),
        "other-digest": whole.replace(b"pass", b"evil"),
        "other-version": bundle(FILES, listed(FILES, version="0.3")),
        "other-format": bundle(FILES, listed(FILES, format=2)),
        "no-application": bundle({"lib/x.py": b""}),
        "a-link": bundle({"app.py": APP}, end=member("z", b"", kind=b"2") + bytes(1024)),
        "a-folder": bundle({"app.py": APP}, end=member("z", b"", kind=b"5") + bytes(1024)),
        "a-long-name": bundle({"app.py": APP}, end=member("z", b"x", kind=b"L") + bytes(1024)),
        "sum-wrong": whole[:148] + b"000000\0 " + whole[156:],
        "magic-wrong": whole[:257] + b"gnu  \0\0\0" + whole[265:],
        "size-huge": huge + listed(FILES),
        "size-negative": header("ivota.json", b"-0000000001") + listed(FILES),
        "size-of-12-digits": header("ivota.json", b"777777777777") + listed(FILES),
        "size-base-256": header("ivota.json", b"\x80" + b"\xff" * 11) + listed(FILES),
        "size-underscore": header("ivota.json", b"1_000") + listed(FILES),
        "size-of-a-file-huge": bundle(
            {}, listed({}, files=[{"path": "app.py", "size": 8**11 - 1, "sha256": "0"}]), b""
        )
        + header("app.py", b"77777777777"),
        "list-deep": bundle({}, b'{"files": [' + b'{"a": ' * 600),
        "list-of-lists": bundle({}, b'{"files": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
        "list-a-text": bundle({}, b'"files"'),
        "list-empty": bundle({}, b""),
        "list-null": bundle({}, b"null"),
        "list-without-keys": bundle(FILES, b'{"files": [{}]}'),
        "list-other-types": bundle(
            FILES, listed(FILES, files=[{"path": 5, "size": "x", "sha256": None}])
        ),
        "list-version-twice": bundle(FILES, listed(FILES)[:-1] + b', "version": "0.1"}'),
        "list-surrogate": bundle(FILES, listed(FILES, application="\ud800")),
        "list-nul": bundle(FILES, listed(FILES).replace(b"app.py", b"app.py\\u0000")),
        "cut-in-the-list": whole[:600],
        "cut-in-a-file": whole[:1600],
        **{
            "config-" + name: bundle({**FILES, "config.json": config})
            for name, config in (
                ("good", b'{"mqtt": {"host": "h"}, "device_name": null, "new": [1]}'),
                ("identity", b'{"device_name": "d"}'),
                ("identity-escaped", b'{"product\\u005fid": "P"}'),
                ("identity-twice", b'{"device_secret": null, "device_secret": "x"}'),
                ("a-list", b"[]"),
                ("deep", b'{"device_name": ' + b"[" * 600 + b"]" * 600 + b"}"),
                ("long", b'{"x": "' + b"x" * 2000 + b'"}'),
                ("nothing", b""),
            )
        },
        "zeros": bytes(2048),
        "nothing": b"",
    }


TARGET = Target(
    about="a bundle: ustar, file list, mount",
    code=(
        "lib/ivota/examine.py",
        "lib/ivota/filelist.py",
        "lib/ivota/overrides.py",
        "lib/bundlefs.py",
    ),
    seeds=seeds,
    mutate=archives.change,
    most=8192,
    lines=Bound(20_000, 40),
    words=("ustar\\x0000", "ivota.json", "app.py", '\\"path\\": ', "../", '\\"sha256\\": '),
    mistakes=(
        Mistake("paths may lead out", (("lib/ivota/examine.py", '.strip(".")', ""),)),
        Mistake(
            "contents are not compared",
            (
                (
                    "lib/ivota/examine.py",
                    'if binascii.hexlify(digest.digest()).decode() != entry["sha256"]:',
                    "if False:",
                ),
            ),
        ),
        Mistake(
            "a bundle may say who the board is",
            (("lib/ivota/overrides.py", "if config.get(key) is not None:", "if False:"),),
        ),
        Mistake(
            "what is not listed passes",
            (("lib/ivota/examine.py", "if found:", "if False:"),),
        ),
    ),
)
