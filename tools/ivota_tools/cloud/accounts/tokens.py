"""Tokens of the HTTP API: those of operators and their scripts, and this machine's own."""

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
from ..mqtt.protocol import NAME_MOST
from ..store.database import revoke
from ..store.models import Token
from . import audit_log, users
from .roles import ADMIN, ROLES
from .users import UserError, digest

BITS_LEAST = 128
DIFFERENT_LEAST = 8  # characters
LOCAL_TOKEN = "api.token"  # the file in the data folder; tools/ivota_tools/api_client.py reads it


def local_token(folder: Path) -> str:
    """A token that whoever owns the data folder can read, and nobody else; made once."""
    path = folder / LOCAL_TOKEN
    handle, name = tempfile.mkstemp(dir=folder, prefix="token-")  # for the owner's eyes alone
    with os.fdopen(handle, "w") as file:
        file.write(new_token() + "\n")
    # The first of several processes wins, and none ever sees half a token.
    with contextlib.suppress(FileExistsError):
        os.link(name, path)
    os.unlink(name)
    word = path.read_text().strip()
    if len(word) < 32:
        raise CloudError(f"{path} holds no token: delete it, then another is made")
    return word


def create_token(session: Session, name: str, role: str, who: str) -> tuple[Token, str]:
    """With the word itself, which is kept nowhere. Raises UserError."""
    if not (0 < len(name) <= NAME_MOST and name.isprintable()):
        raise UserError(f"a token's name has 1 to {NAME_MOST} characters")
    if name.lower() in users.RESERVED or users.is_user(session, name):
        raise UserError(
            f"{name!r} is the name of a user, or the audit log's own: choose another", 409
        )
    if role not in ROLES:
        raise UserError(f"a role is one of {', '.join(ROLES)}")
    if session.scalar(select(Token.id).where(Token.name == name)) is not None:
        raise UserError(
            f"there is a token {name!r} already: choose another name, or remove that one", 409
        )
    locked = users.any_user(session) or session.scalar(select(Token.id).limit(1)) is not None
    if role != ADMIN and not locked:
        raise UserError(
            "the first token must be an admin's (--role admin): from then on nothing is answered "
            "without one, and only an admin lets others in",
            409,
        )
    word = new_token()
    token = Token(name=name, role=role, sha256=digest(word), created_at=time.time())
    session.add(token)
    session.flush()
    audit_log.note(session, who, "token", name, role=role)
    return token, word


def check_token(word: str) -> None:
    """Of one that somebody has chosen. Raises CloudError where it could be guessed."""
    if not word.strip():
        # A request without a token carries this very word: everybody would be its owner.
        raise CloudError(
            "the token is empty, so anybody would have it: say one, or leave --token out"
        )
    kinds = ((r"[0-9]", 10), (r"[0-9a-fA-F]", 16), (r"[a-z0-9]", 36), (r"[ -~]", 64))
    signs = next((size for kind, size in kinds if re.fullmatch(f"(?:{kind})*", word)), 0)
    if not signs or len(set(word)) < DIFFERENT_LEAST or len(word) * math.log2(signs) < BITS_LEAST:
        raise CloudError(
            f"the token can be guessed: it needs {BITS_LEAST} random bits, as "
            "`openssl rand -hex 16` makes them"
        )


def remove_token(session: Session, token: Token, who: str) -> None:
    """What is connected with it is cut within a second."""
    session.delete(token)
    revoke(session)
    audit_log.note(session, who, "token removed", token.name)


def new_token() -> str:
    return f"ivota_{secrets.token_urlsafe(24)}"
