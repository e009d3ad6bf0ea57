"""The Range header of a download."""

from ..target import Mistake, Target


def seeds() -> dict[str, bytes]:
    texts = {
        "good": "bytes=10-",
        "good-both": "bytes=0-99",
        "good-suffix": "bytes=-5",
        "from-the-end": "bytes=1000-",
        "beyond": "bytes=5000-6000",
        "end-beyond": "bytes=5-99999",
        "backwards": "bytes=9-5",
        "suffix-zero": "bytes=-0",
        "suffix-large": "bytes=-5000",
        "two": "bytes=0-1,5-6",
        "huge": "bytes=" + "9" * 3000 + "-",
        "huge-end": "bytes=0-" + "9" * 3000,
        "zeros": "bytes=" + "0" * 3000 + "5-",
        "negative": "bytes=--5",
        "signed": "bytes=+5-",
        "blanks": " bytes = 5 - 9 ",
        "other-unit": "lines=1-2",
        "other-digits": "bytes=\u00b2-",
        "capitals": "BYTES=1-2",
        "newline": "bytes=1-2\n",
        "nul": "bytes=1-2\0",
        "empty": "",
        "dash": "bytes=-",
    }
    found = {name: b"1000\n" + text.encode("latin-1") for name, text in texts.items()}
    return found | {"of-nothing": b"0\nbytes=0-", "of-nothing-suffix": b"0\nbytes=-1"}


TARGET = Target(
    about="a Range header",
    code=("tools/ivota_tools/cloud/downloads/http_range.py",),
    device=False,
    seeds=seeds,
    words=("bytes=", "-", "9999"),
    mistakes=(
        Mistake(
            "accepts an end past the file's",
            (
                (
                    "tools/ivota_tools/cloud/downloads/http_range.py",
                    "min(_number(last), size - 1) if last",
                    "_number(last) if last",
                ),
            ),
        ),
        Mistake(
            "accepts a suffix of any length",
            (
                (
                    "tools/ivota_tools/cloud/downloads/http_range.py",
                    "length = min(_number(suffix), size)",
                    "length = _number(suffix)",
                ),
            ),
        ),
        Mistake(
            "accepts a backward range",
            (
                (
                    "tools/ivota_tools/cloud/downloads/http_range.py",
                    "if last and _number(last) < start:",
                    "if False:",
                ),
            ),
        ),
    ),
)
