"""Search for devices: query words (query.py) or parts of a name, as SQL conditions.

A search therefore matches the same devices as a campaign's query, and reads only the rows that
it shows.
"""

from __future__ import annotations

import glob
import json
import re
import shlex
from typing import Any

from sqlalchemy import JSON, ColumnElement, String, cast, func, literal, select
from sqlalchemy.orm import Session

from ..rollout.device_query import COMPARED, parse, pattern, span_s, split
from ..rollout.version_order import key
from ..store.device_acceptance import ACCEPTED
from ..store.models import Device, DeviceTag

_QUOTED = re.compile(r"[\s'\"\\]|^$")


def count(session: Session, text: str, now: float) -> int:
    """Return how many devices a query matches. Raises QueryError."""
    parse(text)
    query = select(func.count(Device.id)).where(
        Device.status == ACCEPTED, *conditions(session, text, now)
    )
    return session.scalar(query) or 0


def as_query(text: str, version: str, application: str = "") -> str:
    """Return a search as a campaign's query: parts of names become patterns."""
    found: list[str] = []
    for word in _words(text):
        product, slash, name = word.rpartition("/")
        if word == "all" or split(word):
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
        term = split(word)
        if term is None:
            name = Device.product_id + "/" + Device.device_name
            found.append(name.icontains(word, autoescape=True))
            continue
        parse(word)  # raises an error that explains what is wrong
        minus, what, sign, value = term
        condition = _term(session, what, sign, value, now)
        found.append(~condition if minus else condition)
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _term(session: Session, what: str, sign: str, value: str, now: float) -> ColumnElement[bool]:
    if what == "tag":
        with_tag = select(DeviceTag.device_id).where(DeviceTag.tag == value)
        return Device.id.in_(with_tag)
    if what == "product":
        return Device.product_id == value
    if what == "application":
        return func.coalesce(Device.application == value, False)
    if what == "hardware":
        return func.coalesce(func.lower(Device.hardware) == value.lower(), False)
    if what == "name":
        return _matches(session, value)
    if what == "seen":
        silent = now - func.coalesce(Device.last_seen, -1e12)
        older: ColumnElement[bool] = COMPARED[sign](silent, span_s(value))
        return older
    if sign == ":":
        return func.coalesce(Device.version == value, False)
    known = session.scalars(select(Device.version).where(Device.version.isnot(None)).distinct())
    fitting = [each for each in known if each and COMPARED[sign](key(each), key(value))]
    return func.coalesce(Device.version.in_(_as_rows(session, fitting)), False)


def _as_rows(session: Session, texts: list[str]) -> Any:
    """Pass any number of texts as one parameter, because a statement's parameters are limited."""
    listed = json.dumps(texts)
    if session.get_bind().dialect.name == "sqlite":
        rows = func.json_each(listed).table_valued("value")
        return select(rows.c.value)
    return select(
        func.json_array_elements_text(cast(literal(listed, String), JSON)).column_valued()
    )


def _matches(session: Session, text: str) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "sqlite":
        # GLOB negates a set with a different character.
        parts = (f"[{rest.replace('!', '^')}]" if sign == "[" else sign or rest
                 for sign, rest in pattern(text))  # fmt: skip
        return Device.device_name.op("GLOB")("".join(parts))
    signs = {"*": ".*", "?": "."}
    made = ""
    for sign, rest in pattern(text):
        if sign == "[":
            no = rest[:1] == "!"
            inside = rest[no:]
            made += f"[{'^' * no}{inside if inside not in '[*?' else chr(92) + inside}]"
        else:
            made += signs.get(sign) or re.escape(rest)
    return Device.device_name.op("~")(f"^(?:{made})$")
