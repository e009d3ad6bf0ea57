"""An archive as boot.py mounts it, should its contents have changed since it was examined."""

from .. import archives
from ..archives import bundle, header, member
from ..target import Bound, Mistake, Target
from .bundle import APP, FILES


def seeds() -> dict[str, bytes]:
    good = bundle(FILES)
    return {
        "good": good,
        "good-prefix": member("y.py", b"Y", prefix="lib/x") + bytes(1024),
        "twice": good[:-1024] + member("app.py", b"other") + bytes(1024),
        "up": member("../boot.py", APP) + member("/boot.py", APP),
        "slashes": member("/", b"a") + member("//", b"b") + member("a/", b"c"),
        "folder-and-file": member("a/b", b"a") + member("a", b"b") + member("a/b/c", b"c"),
        "not-utf8": member("a", b"a").replace(b"a\0", b"\xff\0", 1),
        "size-huge": header("app.py", b"77777777777"),
        "size-and-more": header("app.py", b"77777777777") + member("b", b"b"),
        "size-of-12-digits": header("app.py", b"777777777777") + b"x" * 100,
        "size-negative": header("app.py", b"-0000000007") + b"x" * 512,
        "cut": good[:-1400],
        "empty": bytes(1024),
        "a-link": member("a", b"", kind=b"1"),
        "tab-in-a-name": member("a\tb", b"x"),
        "newline-in-a-name": member("a\nb", b"x"),
        "deep": member("/".join("abcdefghijklmnopqrstuvwxyz" * 2)[:99], b"x"),
    }


TARGET = Target(
    about="an archive that is mounted unexamined",
    code=("lib/bundlefs.py",),
    seeds=seeds,
    mutate=archives.change,
    most=6144,
    lines=Bound(20_000, 60),
    words=("ustar\\x0000", "app.py", "../", "//"),
    mistakes=(
        Mistake(
            "a file has no end",
            (("lib/bundlefs.py", "left if n is None or n < 0 or n > left else n", "n"),),
        ),
        Mistake("a name may have lines", (("lib/bundlefs.py", " or min(name) < 32", ""),)),
        Mistake(
            "a file goes on behind its end",
            (
                (
                    "lib/bundlefs.py",
                    "self._at = min(max(base + offset, 0), self.size)",
                    "self._at = base + offset",
                ),
            ),
        ),
    ),
)
