"""Search for devices: query words (device_query.py) or parts of a name, as SQL conditions.

A search therefore matches the same devices as a campaign's query, and reads only the rows that
it shows.
"""

from __future__ import annotations

import glob
import re
import shlex

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from ..rollout.device_query import condition, is_term, term
from ..store.models import Device

_QUOTED = re.compile(r"[\s'\"\\]|^$")


def as_query(text: str, version: str, application: str = "") -> str:
    """Return a search as a campaign's query: parts of names become patterns."""
    found: list[str] = []
    for word in _words(text):
        product, slash, name = word.rpartition("/")
        if word == "all" or is_term(word):
            found.append(word)
            continue
        if slash:
            found.append(f"product:{product}")
        found.append(f"name:*{glob.escape(name)}*")
    if version:
        found.append(f"version:{version}")
    if application:
        found.append(f"application:{application}")
    return " ".join(map(quoted, found))


def quoted(word: str) -> str:
    """Quote a word for a query. `<` and `*` need no quotes here, unlike in a shell."""
    return shlex.quote(word) if _QUOTED.search(word) else word


def conditions(session: Session, text: str, now: float) -> list[ColumnElement[bool]]:
    """Return conditions that must all hold. Raises QueryError."""
    found: list[ColumnElement[bool]] = []
    for word in _words(text):
        if word == "all":
            continue
        if is_term(word):
            found.append(condition(session, term(word), now))
        elif "<" in word or ">" in word:  # no name contains these: somebody meant a query
            found.append(condition(session, term(word), now))
        else:
            name = Device.product_id + "/" + Device.device_name
            found.append(name.icontains(word, autoescape=True))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
