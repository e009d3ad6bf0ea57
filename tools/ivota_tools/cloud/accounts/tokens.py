"""Manage the tokens of the HTTP API, including the local token of this machine."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import tempfile
import time
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..cloud_error import CloudError
from ..mqtt.messages import NAME_MOST
from ..store.database import revoke
from ..store.models import Token
from . import audit_log, users
from .roles import ADMIN, ROLES
from .users import UserError, digest

BITS_LEAST = 128
DIFFERENT_LEAST = 8  # characters
LOCAL_TOKEN = (
    "api.token"  # the file in the data folder; tools/ivota_tools/common/api_connection.py reads it
)


def local_token(folder: Path) -> str:
    """Return the local token, which only the data folder's owner can read; create it once."""
    path = folder / LOCAL_TOKEN
    handle, name = tempfile.mkstemp(dir=folder, prefix="token-")  # readable only by the owner
    with os.fdopen(handle, "w") as file:
        file.write(new_token() + "\n")
    # The first of several processes wins, and none ever reads a partial token.
    with contextlib.suppress(FileExistsError):
        os.link(name, path)
    os.unlink(name)
    word = path.read_text().strip()
    if len(word) < 32:
        raise CloudError(
            f"{path} does not contain a token: delete the file, and the cloud creates a new one"
        )
    return word


def create_token(session: Session, name: str, role: str, who: str) -> tuple[Token, str]:
    """Create a token; return its row and the token, which is not stored. Raises UserError."""
    if not (0 < len(name) <= NAME_MOST and name.isprintable()):
        raise UserError(f"a token's name must have 1 to {NAME_MOST} printable characters")
    if name.lower() in users.RESERVED or users.is_user(session, name):
        raise UserError(
            f"{name!r} is a user's name or reserved for the audit log: choose another", 409
        )
    if role not in ROLES:
        raise UserError(f"the role must be one of {', '.join(ROLES)}")
    if session.scalar(select(Token.id).where(Token.name == name)) is not None:
        raise UserError(
            f"a token {name!r} already exists: choose another name, or remove that token", 409
        )
    locked = users.any_user(session) or session.scalar(select(Token.id).limit(1)) is not None
    if role != ADMIN and not locked:
        raise UserError(
            "the first token must have the role admin (--role admin): afterwards every request "
            "needs a token, and only an admin can create more",
            409,
        )
    word = new_token()
    token = Token(name=name, role=role, sha256=digest(word), created_at=time.time())
    session.add(token)
    session.flush()
    audit_log.note(session, who, "token create", name, role=role)
    return token, word


def check_token(word: str) -> None:
    """Check a token chosen by a user. Raises CloudError if it is too weak."""
    if not word.strip():
        # A request without a token carries this very value: everybody would match.
        raise CloudError("the token is empty: specify one, or omit --token")
    kinds = ((r"[0-9]", 10), (r"[0-9a-fA-F]", 16), (r"[a-z0-9]", 36), (r"[ -~]", 64))
    signs = next((size for kind, size in kinds if re.fullmatch(f"(?:{kind})*", word)), 0)
    if not signs or len(set(word)) < DIFFERENT_LEAST or len(word) * math.log2(signs) < BITS_LEAST:
        raise CloudError(
            f"the token is too weak: it needs at least {BITS_LEAST} random bits; create one "
            "with `openssl rand -hex 16`"
        )


def remove_token(session: Session, token: Token, who: str) -> None:
    """Remove a token; its connections are closed within a second."""
    session.delete(token)
    revoke(session)
    audit_log.note(session, who, "token removed", token.name)


def new_token() -> str:
    return f"ivota_{secrets.token_urlsafe(24)}"
