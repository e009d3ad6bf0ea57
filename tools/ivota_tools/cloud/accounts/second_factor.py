"""A second factor for passwords: codes from an authenticator app (TOTP), and recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets

import pyotp
import segno
from sqlalchemy.orm import Session

from ..store.models import User
from . import audit_log
from .users import UserError, digest

ISSUER = "ivota"  # the name that the app shows
PERIOD_S = 30
TICKET_S = 300.0  # from the password to the code
RECOVERY_CODES = 10
SECRET = re.compile(r"[A-Z2-7]{32}")


def new_secret() -> str:
    """Return a secret for an app, in base32."""
    return pyotp.random_base32()


def picture(name: str, secret: str) -> str:
    """Return the QR code that an app scans, as an SVG element."""
    uri = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)
    return segno.make(uri, micro=False).svg_inline(scale=4, light="#fff")


def enable(session: Session, user: User, secret: str, code: str, now: float) -> list[str]:
    """Turn the second factor on; return the recovery codes, which are not stored.

    Raises UserError unless `code` shows that the app has the secret.
    """
    if not SECRET.fullmatch(secret):
        raise UserError("the form is not valid: reload the page")
    step = _step(secret, code, now)
    if step is None:
        raise UserError(
            "the code is wrong: enter the current code from the app, and check that your phone's "
            "clock is correct"
        )
    codes = [secrets.token_hex(5) for _ in range(RECOVERY_CODES)]
    user.totp, user.totp_step = secret, step
    user.recovery = json.dumps([digest(each) for each in codes])
    audit_log.note(session, user.name, "second factor on", user.name)
    return codes


def disable(session: Session, user: User, who: str) -> None:
    """Turn the second factor off. Raises UserError if it is off."""
    if not user.totp:
        raise UserError(f"{user.name} has no second factor", 409)
    user.totp, user.totp_step, user.recovery = None, None, None
    audit_log.note(session, who, "second factor off", user.name)


def accept(session: Session, user: User, code: str, now: float) -> str | None:
    """Use up a code at sign-in; return "app", "recovery", or None if it is wrong.

    No code is valid twice. `user` must belong to the writing `session`.
    """
    if not user.totp:
        return None
    step = _step(user.totp, code, now)
    if step is not None and step > (user.totp_step or 0):
        user.totp_step = step
        return "app"
    left = json.loads(user.recovery or "[]")
    used = digest(_tidy(code).lower())
    if used in left:
        left.remove(used)
        user.recovery = json.dumps(left)
        audit_log.note(session, user.name, "recovery code", user.name, left=len(left))
        return "recovery"
    return None


def codes_left(user: User) -> int:
    """Return the number of unused recovery codes."""
    return len(json.loads(user.recovery or "[]"))


def ticket(key: bytes, user: User, now: float) -> str:
    """Return proof, for a few minutes, that the browser has sent this user's password."""
    text = f"{user.id}.{int(now + TICKET_S)}"
    return f"{text}.{_sign(key, text, user)}"


def ticket_user(key: bytes, session: Session, given: str, now: float) -> User | None:
    """Return the user of a valid ticket. A new password or another factor makes it invalid."""
    parts = given.split(".")
    if len(parts) != 3 or not all(re.fullmatch(r"[0-9]{1,15}", each) for each in parts[:2]):
        return None
    user = session.get(User, int(parts[0])) if int(parts[0]) < 2**31 else None
    if user is None or int(parts[1]) < now:
        return None
    right = _sign(key, ".".join(parts[:2]), user)
    return user if hmac.compare_digest(parts[2].encode(errors="replace"), right.encode()) else None


def _sign(key: bytes, text: str, user: User) -> str:
    words = f"second factor {text} {user.password} {user.totp}"
    return hmac.new(key, words.encode(), hashlib.sha256).hexdigest()


def _step(secret: str, code: str, now: float) -> int | None:
    """Return the time step that the code belongs to: the current one, or one beside it."""
    given = _tidy(code)
    app = pyotp.TOTP(secret, interval=PERIOD_S)
    current = int(now) // PERIOD_S
    for step in (current, current - 1, current + 1):
        if hmac.compare_digest(given.encode(errors="replace"), app.generate_otp(step).encode()):
            return step
    return None


def _tidy(code: str) -> str:
    return "".join(code.split()).replace("-", "")[:64]
