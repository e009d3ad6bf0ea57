"""A bundle as boot.py mounts it, if its contents have changed since it was examined."""

from .. import archives
from ..archives import bundle, file, folder, image
from ..target import Bound, Mistake, Target
from .bundle import APP, FILES
from .bundle import seeds as of_bundles


def seeds() -> dict[str, bytes]:
    found = {
        name: data
        for name, data in of_bundles().items()
        if name.partition("-")[0] in ("path", "length", "inner", "deep", "cut", "a", "two", "good")
    }
    return {
        **found,
        "good": bundle(FILES),
        "good-folder": image(folder("lib", file("y.py", b"Y"))),
        "twice": image(file("app.py", APP) + file("app.py", b"other")),
        "up": image(folder("..", file("boot.py", APP))),
        "folder-and-file": image(folder("a", file("b", b"a")) + file("a", b"b")),
        "not-utf8": image(file(b"\xff", b"a")),
        "empty": bytes(1024),
        "tab-in-a-name": image(file("a\tb", b"x")),
        "newline-in-a-name": image(file("a\nb", b"x")),
    }


TARGET = Target(
    about="a bundle that is mounted without a check",
    code=("lib/bundlefs.py",),
    seeds=seeds,
    mutate=archives.change,
    most=6144,
    lines=Bound(20_000, 400),
    words=("\xd2\xcd1", "app.py", "..", "//"),
    mistakes=(
        Mistake(
            "ignores the end of a file",
            (("lib/bundlefs.py", "left if n is None or n < 0 or n > left else n", "n"),),
        ),
        Mistake(
            "accepts line breaks in names",
            (("lib/bundlefs.py", "                or min(name) < 32\n", ""),),
        ),
        Mistake(
            "reads past the end of a file",
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
