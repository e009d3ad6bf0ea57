"""Measure the console's fleet page and a query by version, with the whole and a small fleet."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ivota_tools.cloud import Cloud
from ivota_tools.cloud.rollout import device_query
from ivota_tools.cloud.store.database import Database

from ..figures import Figure
from .filled_database import PASSWORD

ROUNDS = 60
QUERY, PAGE = "version<0.3", 1000  # a fifth of the devices; as many as the API returns at once
QUERIES = 9


def measure(folder: Path, large: str, small: str, empty: str) -> dict[str, Figure]:
    """`large`, `small` and `empty` are URLs of databases with these numbers of devices."""
    with (
        Cloud(folder / "large", database=large, make_deltas=False) as many,
        Cloud(folder / "empty", database=empty, make_deltas=False) as none,
        _signed_in(many) as full,
        _signed_in(none) as blank,
    ):
        first = _seconds(full)
        times: dict[str, list[float]] = {"full": [], "blank": []}
        for _ in range(ROUNDS):
            times["full"].append(_seconds(full))
            times["blank"].append(_seconds(blank))
        following = _follow(full)
    p95 = {name: sorted(found)[int(0.95 * len(found))] for name, found in times.items()}
    query = {name: _query_s(url) for name, url in (("large", large), ("small", small))}
    return {
        "fleet_page_1m_first_ms": Figure(round(1000 * first), "", "ms"),
        "fleet_page_1m_p95_ms": Figure(round(1000 * p95["full"], 1), "", "ms"),
        "fleet_page_1m_p95_ratio": Figure(round(p95["full"] / p95["blank"], 2), "<= 3", "times"),
        "fleet_page_1m_next_ms": Figure(round(1000 * following, 1), "", "ms"),
        "query_1m_ms": Figure(round(1000 * query["large"], 1), "", "ms"),
        "query_1m_ms_ratio": Figure(round(query["large"] / query["small"], 2), "<= 20", "times"),
    }


@contextmanager
def _signed_in(cloud: Cloud) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.api_url, follow_redirects=True, timeout=600) as client:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/sign-in").text)
        form = {"csrf": found[1] if found else "", "name": "admin", "password": PASSWORD}
        client.post("/sign-in", data=form).raise_for_status()
        yield client


def _seconds(client: httpx.Client, path: str = "/") -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - began


def _follow(client: httpx.Client) -> float:
    """Return the median time of pages, each after the one before."""
    path, found = "/", []
    for _ in range(10):
        link = re.search(r'href="([^"]+)" rel="next"', client.get(path).text)
        if link is None:
            break
        path = link[1].replace("&amp;", "&")
        found.append(_seconds(client, path))
    return statistics.median(found) if found else 0.0


def _query_s(url: str) -> float:
    database = Database(url)
    found = []
    for _ in range(QUERIES):
        with database.reading() as session:
            began = time.perf_counter()
            if len(device_query.find(session, QUERY, time.time(), 0, PAGE)) != PAGE:
                raise RuntimeError("the query found fewer devices than there are")
            found.append(time.perf_counter() - began)
    database.close()
    return statistics.median(found)
