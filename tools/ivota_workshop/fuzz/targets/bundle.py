"""A bundle: a ROMFS image that is examined and then mounted."""

from ivota_tools.firmware import romfs

from .. import archives
from ..archives import FILE, POINTER, Node, bundle, facts, file, folder, image, integer
from ..target import Bound, Mistake, Target

APP = b"def main():\n    pass\n"
FILES = {"app.py": APP, "config.json": b"{}", "lib/x/y.py": b"Y = 1\n"}
FIRST = file("ivota.json", facts())


def seeds() -> dict[str, bytes]:
    whole = bundle(FILES)
    deep = file("x", b"1")
    for _ in range(12):
        deep = folder("d", deep)
    return {
        "good": whole,
        "good-one-file": bundle({"app.mpy": b"M\x06\0\x1f"}),
        "good-with-filler": whole + b"filler" * 10,
        "good-empty-file": bundle({"app.py": b""}),
        "good-not-ascii": bundle({"app.py": APP, "\u00e4.py": b""}),
        "good-config": bundle(
            {**FILES, "config.json": b'{"mqtt": {"host": "h"}, "device_name": null, "new": [1]}'}
        ),
        "good-padding": image(FIRST + Node(1, payload=b"123").encoded() + file("app.py", APP)),
        "path-up": image(FIRST + folder("..", file("boot.py", b"x")) + file("app.py", APP)),
        "path-absolute": image(FIRST + file("/boot.py", b"x") + file("app.py", APP)),
        "path-backslash": bundle({"a\\..\\b": b"", **FILES}),
        "path-dot": image(FIRST + file(".", b"x") + file("app.py", APP)),
        "path-empty": image(FIRST + file("", b"x") + file("app.py", APP)),
        "path-not-utf8": image(FIRST + file("app.py", APP) + file(b"\xff", b"x")),
        "path-long": image(FIRST + file("app.py", APP) + file("x" * 300, b"x")),
        "twice": image(FIRST + file("app.py", APP) * 2),
        "a-second-first": image(FIRST + file("app.py", APP) + FIRST),
        "folder-and-file": image(FIRST + folder("app.py", b"") + file("app.py", APP)),
        "other-order": image(FIRST + file("b", b"") + file("app.py", APP)),
        "other-version": bundle(FILES, facts(version="0.3")),
        "other-format": bundle(FILES, facts(format=1)),
        "no-application": bundle({"lib/x.py": b""}),
        "not-first": image(file("app.py", APP) + FIRST),
        "a-pointer": image(
            FIRST + Node(FILE, b"app.py", [Node(POINTER, payload=b"aa")]).encoded()
        ),
        "two-contents": image(FIRST + file("app.py", APP)[:-1] + b"\x02\x01x"),
        "deep": image(FIRST + file("app.py", APP) + deep),
        "length-huge": image(FIRST + file("app.py", APP), 1 << 27),
        "length-of-five-bytes": image(FIRST, 1 << 34),
        "length-without-end": romfs.MAGIC + b"\x80" * 40,
        "length-padded": romfs.MAGIC + b"\x80" + whole[3:],
        "inner-length-huge": image(FIRST + integer(FILE) + integer(1 << 27) + b"\x06app.py"),
        "inner-length-short": image(FIRST + integer(FILE) + integer(3) + b"\x06app.py\x02\x00"),
        "facts-a-list": bundle(FILES, b"[]"),
        "facts-a-text": bundle(FILES, b'"format"'),
        "facts-empty": bundle(FILES, b""),
        "facts-null": bundle(FILES, b"null"),
        "facts-deep": bundle(FILES, b"[" * 1000),
        "facts-long": bundle(FILES, facts(application="a" * 1100)),
        "facts-for-a-newer-board": bundle(FILES, facts(updater_min="99.1")),
        "good-for-this-board": bundle(FILES, facts(updater_min="0.0.1")),
        "facts-of-odd-boards": bundle(FILES, facts(updater_min=["0.1"])),
        "facts-other-types": bundle(FILES, facts(version=5)),
        "facts-surrogate": bundle(FILES, facts(application="\ud800")),
        "cut-in-facts": whole[:30],
        "cut-before-facts": whole[: whole.index(b"{")],
        "cut-in-a-file": whole[:-3],
        "only-facts": image(FIRST),
        "no-record": image(b""),
        **{
            "config-" + name: bundle({**FILES, "config.json": config})
            for name, config in (
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
    about="a bundle: ROMFS records, mount",
    code=(
        "lib/ivota/bundle_check.py",
        "lib/ivota/boot_compatibility.py",
        "lib/ivota/identity_lock.py",
        "lib/bundlefs.py",
    ),
    seeds=seeds,
    mutate=archives.change,
    most=8192,
    lines=Bound(20_000, 200),
    words=("\xd2\xcd1", "ivota.json", "app.py", ".."),
    mistakes=(
        Mistake(
            "accepts paths that lead out",
            (("lib/ivota/bundle_check.py", 'text.strip(".")', "text"),),
        ),
        Mistake(
            "accepts a name twice",
            (("lib/ivota/bundle_check.py", "if name <= last and", "if False and"),),
        ),
        Mistake(
            "lets a bundle change the board's identity",
            (("lib/ivota/identity_lock.py", "if config.get(key) is not None:", "if False:"),),
        ),
        Mistake(
            "reads a size that has not come",
            (("lib/ivota/boot_compatibility.py", "<= at <= len(head) - 2", "<= at"),),
        ),
        Mistake(
            "does not check the end",
            (("lib/ivota/bundle_check.py", "if length < end:", "if False:"),),
        ),
    ),
)
