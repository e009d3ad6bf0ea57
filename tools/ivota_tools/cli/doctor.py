"""Define `ivota doctor`: check this machine, and say what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import typer
from rich.table import Table

from ..api_client import ApiError, Client, default_data
from ..common import project_files
from ..toolchain.cache import LAYOUT, cache_dir
from .terminal import AsJson, cell, err, out, print_json, titled_table

GOOD, NOTE, BAD = "ok", "note", "problem"
STYLES = {GOOD: "green", NOTE: "yellow", BAD: "red"}
SERVERS_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
DISK_LEAST = 1 << 30  # bytes
PORTS = {8123: "--port", 1883: "--mqtt-port"}


class Finding(NamedTuple):
    """The result of a check; `advice` is what to do, or ""."""

    what: str
    state: str
    found: str
    advice: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Check what is installed, the ports, the data directory and the cloud; nothing is changed.

    Exits with code 1 if there is a problem.
    """
    with err.status("checking"):
        findings = [each for check in CHECKS for each in check()]
    if as_json:
        print_json([each._asdict() for each in findings])
    else:
        out.print(_table(findings))
    if any(each.state == BAD for each in findings):
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = titled_table("", "check", "state", "found", "what to do")
    for each in findings:
        table.add_row(
            cell(each.what), cell(each.state, STYLES[each.state]), cell(each.found),
            cell(each.advice),
        )  # fmt: skip
    return table


def _installed() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ivota", GOOD, f"{project_files.version()} on Python {python}")
    broker = shutil.which("mosquitto", path=SERVERS_PATH)
    cached = cache_dir() / "toolchain" / f"mosquitto-{LAYOUT}"
    if broker or cached.is_dir():
        yield Finding("broker", GOOD, broker or f"mosquitto in {cached}")
    else:
        advice = "install mosquitto, or use --broker; otherwise `ivota cloud` downloads it once"
        yield Finding("broker", NOTE, "no mosquitto", advice)
    has_driver = importlib.util.find_spec("psycopg") is not None
    if os.environ.get("IVOTA_DATABASE") and not has_driver:
        yield Finding("PostgreSQL", BAD, "no driver", "pip install 'psycopg[binary]'")
    elif has_driver and not shutil.which("pg_dump"):
        advice = "install postgresql-client if the cloud uses PostgreSQL"
        yield Finding("PostgreSQL", NOTE, "a driver, but no pg_dump for backups", advice)
    else:
        yield Finding("PostgreSQL", GOOD, "a driver" if has_driver else "not used")


def _data() -> Iterator[Finding]:
    folder = default_data()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK):
        yield Finding("data directory", BAD, f"{folder} is not writable", "choose another: --data")
        return
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / (1 << 30):,.1f} GiB free"
    low = free < DISK_LEAST
    yield Finding("data directory", BAD if low else GOOD, found, "free some space" if low else "")


def _cloud() -> Iterator[Finding]:
    try:
        with Client() as client:
            url, health = client.url, client.health()
    except ApiError as error:
        yield Finding("cloud", NOTE, str(error))
        yield from _ports()
        return
    if health["ok"]:
        yield Finding("cloud", GOOD, f"{url} stores reports")
    else:
        advice = "the log of the cloud has details; docs/monitoring lists what to do"
        yield Finding("cloud", BAD, f"{url}: {health['problem']}", advice)


def _ports() -> Iterator[Finding]:
    for port, option in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                advice = f"choose another with {option}, or end the program that uses it"
                yield Finding(f"port {port}", BAD, error.strerror or str(error), advice)
                continue
        yield Finding(f"port {port}", GOOD, "free")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_installed, _data, _cloud)
