"""Pre-signed URLs: the firmware's number, its expiry and the signature."""

import hashlib
import hmac

from ..target import Mistake, Target

_EXPIRES = 1_700_000_600


def _sign(number: int = 7, expires: int = _EXPIRES) -> str:
    signed = f"/files/{number}\n{expires}".encode()
    return hmac.new(b"secret", signed, hashlib.sha256).hexdigest()


def seeds() -> dict[str, bytes]:
    good = f"7?expires={_EXPIRES}&sign={_sign()}"
    past = 1_600_000_000
    texts = {
        "good": good,
        "good-other-order": f"7?sign={_sign()}&expires={_EXPIRES}",
        "expired": f"7?expires={past}&sign={_sign(7, past)}",
        "other-number": good.replace("7?", "8?"),
        "number-huge": good.replace("7?", "9" * 300 + "?"),
        "number-negative": good.replace("7?", "-7?"),
        "number-zeros": good.replace("7?", "007?"),
        "path": good.replace("7?", "../../etc/passwd?"),
        "path-encoded": good.replace("7?", "%2e%2e%2f7?"),
        "expires-later": good.replace("600&", "601&"),
        "expires-huge": good.replace(str(_EXPIRES), "9" * 3000),
        "expires-zeros": good.replace(str(_EXPIRES), "00" + str(_EXPIRES)),
        "expires-signed": good.replace(str(_EXPIRES), f"%2B{_EXPIRES}"),
        "expires-underscore": good.replace(str(_EXPIRES), "1_700_000_600"),
        "expires-other-digits": good.replace(str(_EXPIRES), "\u00b2"),
        "sign-capitals": good.replace(_sign(), _sign().upper()),
        "sign-short": good[:-1],
        "sign-empty": f"7?expires={_EXPIRES}&sign=",
        "sign-not-ascii": f"7?expires={_EXPIRES}&sign=\u00e4",
        "sign-nul": good + "%00",
        "sign-twice": good + "&sign=x",
        "nothing": "",
    }
    found = {name: text.encode("latin-1") for name, text in texts.items()}
    return found | {"sign-surrogate": f"7?expires={_EXPIRES}&sign=".encode() + b"%ed%a0%80"}


TARGET = Target(
    about="a pre-signed URL",
    code=("tools/ivota_tools/cloud/downloads/signed_urls.py",),
    device=False,
    seeds=seeds,
    words=("expires=", "sign=", "&", "?", "1700000600"),
    mistakes=(
        Mistake(
            "accepts a part of the signature",
            (
                (
                    "tools/ivota_tools/cloud/downloads/signed_urls.py",
                    'hmac.compare_digest(sign.encode(errors="replace"), right.encode())',
                    "right.startswith(sign)",
                ),
            ),
        ),
        Mistake(
            "leaves the number unsigned",
            (
                (
                    "tools/ivota_tools/cloud/downloads/signed_urls.py",
                    'f"/files/{firmware_id}\\n{expires}"',
                    'f"/files/7\\n{expires}"',
                ),
            ),
        ),
        Mistake(
            "signs without expiry",
            (
                (
                    "tools/ivota_tools/cloud/downloads/signed_urls.py",
                    'f"/files/{firmware_id}\\n{expires}"',
                    'f"/files/{firmware_id}\\n1700000600"',
                ),
            ),
        ),
    ),
)
