"""Manage console users, their passwords (argon2id) and signed-in browsers."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, joinedload

from ..store.database import Database, revoke
from ..store.models import USER_MOST, SignIn, Token, User
from . import audit_log
from .roles import ADMIN, ROLES

PASSWORD_LEAST, PASSWORD_MOST = 10, 256  # characters
IDLE_S = 24 * 3600.0  # maximum time between two requests of a signed-in browser
LIFE_S = 14 * 86400.0  # maximum duration of a sign-in
PROVIDER_LIFE_S = 8 * 3600.0  # the same through a provider, who may have closed the account
SEEN_S = 60.0  # precision of the time when a browser was last seen
PROVIDER = "identity provider"
# Names in the audit log.
RESERVED = ("engine", "home-assistant", "local", "owner", "setup link", PROVIDER)

_NAME = re.compile(rf"[a-z0-9][a-z0-9._@-]{{0,{USER_MOST - 1}}}")
_HASHER = PasswordHasher()
# Each hash takes 64 MiB and most of a core, so limit how many run at once. Sign-ins have their
# own limit.
_ROOM = threading.Semaphore(2)
# Used to check a sign-in with an unknown name, so that it takes as long as any other.
_NOBODY = _HASHER.hash(secrets.token_urlsafe(16))


class UserError(ValueError):
    """A user cannot be created or changed like this. `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def create(session: Session, name: str, password: str, role: str, now: float, who: str) -> User:
    """Create a user with a password. Raises UserError."""
    name = _free(session, name)
    _check_role(role)
    user = User(name=name, role=role, password=hashed(name, password), created_at=now)
    session.add(user)
    session.flush()
    audit_log.note(session, who, "user create", name, role=role)
    return user


def by_identity(session: Session, subject: str, name: str, role: str, now: float) -> User:
    """Return an identity provider's user with this role; create it at the first sign-in.

    Only `subject` identifies a user: a user with the name of another user is rejected.
    Raises UserError.
    """
    _check_role(role)
    user = session.scalar(select(User).where(User.subject == digest(subject)))
    if user is None:
        name = _free(session, name)
        user = User(name=name, role=role, password="", subject=digest(subject), created_at=now)
        session.add(user)
        session.flush()
        audit_log.note(session, PROVIDER, "user create", name, role=role)
    elif user.role != role:
        user.role = role
        revoke(session)
        audit_log.note(session, PROVIDER, "user role", user.name, role=role)
    return user


def _free(session: Session, name: str) -> str:
    """Return a new user's name in lower case.

    Raises UserError if the name or the password is not allowed.
    """
    name = tidy(name)
    if not _NAME.fullmatch(name):
        raise UserError(
            f"a user's name must have 1 to {USER_MOST} characters (a-z, 0-9, . _ @ -) and start "
            "with a letter or digit"
        )
    if name in RESERVED:
        raise UserError(f"the name {name!r} is reserved for the audit log")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise UserError(f"a user {name!r} already exists: choose another name", 409)
    if session.scalar(select(Token.id).where(func.lower(Token.name) == name)) is not None:
        raise UserError(
            f"a token {name!r} already exists: choose another name, or remove that token", 409
        )
    return name


def set_password(session: Session, user: User, password: str, who: str, keep: int = 0) -> None:
    """Change a password and sign out every browser except `keep`. Raises UserError."""
    if user.by_provider:
        raise UserError(f"the identity provider manages {user.name}'s password", 409)
    user.password = hashed(user.name, password)
    session.execute(delete(SignIn).where(SignIn.user_id == user.id, SignIn.id != keep))
    revoke(session)
    audit_log.note(session, who, "user password", user.name)


def set_role(session: Session, user: User, role: str, who: str) -> None:
    """Change a user's role. Raises UserError if no admin would be left."""
    _check_role(role)
    if user.by_provider:
        raise UserError(f"the identity provider's groups determine {user.name}'s role", 409)
    if role != ADMIN:
        _keep_an_admin(session, user)
    user.role = role
    revoke(session)
    audit_log.note(session, who, "user role", user.name, role=role)


def remove(session: Session, user: User, who: str) -> None:
    """Remove a user. Raises UserError if no admin would be left."""
    _keep_an_admin(session, user)
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))
    session.delete(user)
    revoke(session)
    audit_log.note(session, who, "user removed", user.name)


def any_user(session: Session) -> bool:
    return session.scalar(select(User.id).limit(1)) is not None


def is_user(session: Session, name: str) -> bool:
    return session.scalar(select(User.id).where(User.name == tidy(name))) is not None


def by_password(session: Session, name: str, password: str) -> User | None:
    """Return the user with this name and password; an unknown name takes just as long to check."""
    user = session.scalar(select(User).where(User.name == tidy(name)))
    try:
        hash = user.password if user and not user.by_provider else _NOBODY
        _HASHER.verify(hash, password[:PASSWORD_MOST])
    except (VerificationError, InvalidHashError):
        return None
    return user


def hashed(name: str, password: str) -> str:
    """Check a password. Raises UserError if it is too weak."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise UserError(f"the password must have {PASSWORD_LEAST} to {PASSWORD_MOST} characters")
    if name in password.lower() and len(password) < len(name) + PASSWORD_LEAST // 2:
        raise UserError("the password is too similar to the user's name")
    if len(set(password)) < 4:
        raise UserError("the password is too simple: it has fewer than 4 different characters")
    with _ROOM:
        return _HASHER.hash(password)


def tidy(name: str) -> str:
    return name.strip().lower()


# -- browsers ---------------------------------------------------------------------------------


def sign_in(session: Session, user: User, now: float, address: str, browser: str) -> str:
    """Sign a browser in; return the value of its cookie."""
    word = secrets.token_urlsafe(32)
    session.execute(delete(SignIn).where(is_over(now)))
    session.add(
        SignIn(
            user_id=user.id,
            sha256=digest(word),
            created_at=now,
            seen_at=now,
            expires_at=now + PROVIDER_LIFE_S if user.by_provider else None,
            address=address[:64],
            browser="".join(c for c in browser if c.isprintable())[:256],
        )
    )
    session.execute(update(User).where(User.id == user.id).values(signed_in_at=now))
    audit_log.note(session, user.name, "sign in", user.name, address=address[:64])
    return word


def signed_in(database: Database, word: str, now: float) -> SignIn | None:
    """Find a sign-in and its user; return None if it has expired."""
    query = select(SignIn).where(SignIn.sha256 == digest(word)).options(joinedload(SignIn.user))
    with database.reading() as session:
        found = session.scalar(query.where(~is_over(now)))
    if found and now - found.seen_at > SEEN_S:
        # Not important: a locked database must not prevent viewing.
        with contextlib.suppress(OperationalError), database.writing() as session:
            session.execute(update(SignIn).where(SignIn.id == found.id).values(seen_at=now))
    return found


def sign_out(session: Session, user: User, only: int | None = None) -> int:
    """Sign a user out everywhere, or from one browser; return the number of sign-ins ended."""
    query = delete(SignIn).where(SignIn.user_id == user.id)
    revoke(session)
    done = session.execute(query if only is None else query.where(SignIn.id == only))
    audit_log.note(session, user.name, "sign out", user.name, everywhere=only is None or None)
    return int(getattr(done, "rowcount", 0))


def csrf(word: str) -> str:
    """Return the token that a form must carry, which other sites cannot know."""
    return hmac.new(word.encode(errors="replace"), b"form", hashlib.sha256).hexdigest()


def digest(word: str) -> str:
    return hashlib.sha256(word.encode(errors="replace")).hexdigest()


def is_over(now: float) -> ColumnElement[bool]:
    """Return the SQL condition for a sign-in that has expired."""
    ended = SignIn.expires_at.is_not(None) & (SignIn.expires_at < now)
    return (SignIn.seen_at < now - IDLE_S) | (SignIn.created_at < now - LIFE_S) | ended


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise UserError(f"the role must be one of {', '.join(ROLES)}, not {role!r}")


def _keep_an_admin(session: Session, user: User) -> None:
    """Require that an admin with a password remains, in case the identity provider is down."""
    others = select(func.count()).where(
        User.role == ADMIN, User.id != user.id, User.subject.is_(None)
    )
    if user.role == ADMIN and not user.by_provider and not session.scalar(others):
        raise UserError(
            f"{user.name} is the last admin with a password: create another admin first", 409
        )
