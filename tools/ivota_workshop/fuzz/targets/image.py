"""An ESP32 image's header, compared with that of the running image."""

from ..target import Mistake, Target

_HEAD = b"\xe9\x01\0\0" + bytes(8) + b"\x09\0" + bytes(18) + b"\x32\x54\xcd\xab"


def seeds() -> dict[str, bytes]:
    return {
        "good": b"0" + _HEAD + b"code" * 20,
        "good-tried": b"4" + _HEAD + b"\xff" * 100,
        "tried-ten-times": b":" + _HEAD,
        "other-chip": b"0" + _HEAD[:12] + b"\0\0" + b"x" * 10,
        "other-chip-high-byte": b"0" + _HEAD[:13] + b"\x09" + _HEAD[14:],
        "chip-largest": b"0" + _HEAD[:12] + b"\xff\xff",
        "boot-loader": b"0" + _HEAD[:32] + b"\x50\0\0\0" + bytes(20),
        "no-image": b"0\x7fELF" + bytes(20),
        "erased": b"0" + b"\xff" * 64,
        "zeros": b"0" + bytes(64),
        "cut": b"0" + _HEAD[:12],
        "one-byte": b"0\xe9",
        "nothing": b"",
    }


TARGET = Target(
    about="an ESP32 image's header",
    code=("lib/ivota/image_trial.py",),
    seeds=seeds,
    most=300,
    words=("\\xe9\\x01", "\\x09\\x00"),
    mistakes=(
        Mistake(
            "compares half of the chip's number",
            (
                (
                    "lib/ivota/image_trial.py",
                    "if found[12:14] != own[12:14]:",
                    "if found[12] != own[12]:",
                ),
            ),
        ),
        Mistake(
            "accepts any image",
            (("lib/ivota/image_trial.py", "if bytes(found[32:]) != _DESCRIPTION:", "if False:"),),
        ),
        Mistake(
            "accepts any first byte",
            (("lib/ivota/image_trial.py", "if found[0] != own[0]:", "if False:"),),
        ),
    ),
)
