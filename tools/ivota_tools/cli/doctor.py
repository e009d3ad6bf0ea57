"""Define `ivota doctor`: check this machine, and say what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from rich.table import Table

from ..api_client import ApiError, Client
from ..common import project_files
from ..common.api_connection import default_data, local_socket
from ..common.durations import span
from ..toolchain.cache import LAYOUT, cache_dir
from . import cloud_arguments, cloud_config
from .doctor_cloud import BACKUP_S, BAD, BROKEN, GOOD, NOTE, Finding, disk, running
from .terminal import AsJson, cell, err, out, print_json, titled_table

STYLES = {GOOD: "green", NOTE: "yellow", BAD: "red"}
SERVERS_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
PORTS = {8123: "--port", 1883: "--mqtt-port"}
READY_S = 5.0  # for the cloud's answer

if TYPE_CHECKING:
    from ..cloud import Certificate


def doctor(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="IVOTA_CONFIG",
            help="Also check the cloud that runs on this machine with this configuration file: "
            "its certificate, its backup and whether it stores reports.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation, ports, data directory and cloud, without changing anything.

    The command exits with code 1 if there is a problem.
    """
    with err.status("checking"):
        findings = list(_installed())
        if config is None:
            findings += _cloud()
        else:
            findings += _server(ctx, config)
    if as_json:
        print_json([each._asdict() for each in findings])
    else:
        out.print(_table(findings))
    if any(each.state == BAD for each in findings):
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = titled_table("", "check", "state", "found", "what to do")
    for column in table.columns:
        column.overflow = "fold"  # a URL is copied from here
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
        yield Finding("broker", NOTE, "mosquitto is not installed", advice)
    has_driver = importlib.util.find_spec("psycopg") is not None
    if os.environ.get("IVOTA_DATABASE") and not has_driver:
        yield Finding(
            "PostgreSQL", BAD, "the driver is not installed", "pip install 'psycopg[binary]'"
        )
    elif has_driver and not shutil.which("pg_dump"):
        advice = "install postgresql-client if the cloud uses PostgreSQL"
        yield Finding(
            "PostgreSQL", NOTE, "the driver is installed, but pg_dump (for backups) is not", advice
        )
    else:
        yield Finding("PostgreSQL", GOOD, "the driver is installed" if has_driver else "not used")
    if url := os.environ.get("IVOTA_STORE"):
        yield from _store(url)


def _store(url: str) -> Iterator[Finding]:
    if importlib.util.find_spec("boto3") is None:
        yield Finding("object store", BAD, "boto3 is not installed", "pip install boto3")
        return
    from ..cloud import CloudError
    from ..cloud.store import store_copy

    try:
        with tempfile.TemporaryDirectory() as scratch:
            count = sum(1 for _ in store_copy.open_place(url, Path(scratch)).files())
    except (CloudError, OSError) as error:
        yield Finding("object store", BAD, str(error), "check it with `ivota store check`")
        return
    yield Finding("object store", GOOD, f"{url}, {count} files")


def _data(folder: Path) -> Iterator[Finding]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK):
        yield Finding(
            "data directory", BAD, f"{folder} is not writable", "choose another one with --data"
        )
        return
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / (1 << 30):,.1f} GiB free"
    yield disk(found, free)


def _cloud() -> Iterator[Finding]:
    try:
        with Client() as client:
            url, found = client.url, client.cloud()
    except ApiError as error:
        # Without IVOTA_URL, there may be no cloud.
        yield Finding("cloud", BAD if os.environ.get("IVOTA_URL") else NOTE, str(error))
        yield from _data(default_data())
        yield from _ports(PORTS)
        return
    yield from running(url, found)


def _health(where: str, problem: str | None) -> Finding:
    if problem is None:
        return Finding("cloud", GOOD, f"{where} is storing reports")
    return Finding("cloud", BAD, f"{where}: {problem}", BROKEN)


def _server(ctx: typer.Context, config: Path) -> Iterator[Finding]:
    """Check the server that a configuration file describes."""
    from ..cloud import CloudError  # slow to import
    from ..cloud.store.backup import last_backup

    try:
        asked = cloud_config.options_of(ctx, config)
        # A token in this terminal is for commands, and not the service's.
        options = cloud_arguments.of_cloud({**asked, "token": None})
    except (cloud_config.ConfigError, cloud_arguments.OptionError, CloudError) as error:
        advice = f"run `ivota cloud check-config --config {config}`"
        yield Finding("configuration", BAD, str(error), advice)
        return
    yield Finding("configuration", GOOD, str(config))
    folder = options["folder"]
    yield from _data(folder)
    if store := options["store"]:
        yield from _store(store.url)
    if certificate := options["certificate"]:
        yield _certificate(certificate)
    age_s = time.time() - (made := last_backup(folder))
    if age_s < BACKUP_S:
        yield Finding("backup", GOOD, f"{span(age_s)} ago")
    else:
        found = f"{span(age_s)} ago" if made else "never"
        yield Finding("backup", NOTE, found, "run `ivota backup` every night")
    port, mqtt_port = options["http_port"], options["mqtt_port"]
    problem = _ready(local_socket(folder, port))
    if isinstance(problem, Finding):
        yield problem
        own_broker = {} if asked["broker"] else {mqtt_port: "--mqtt-port"}
        yield from _ports({port: "--port"} | own_broker)
    else:
        yield _health("the cloud", problem)


def _ready(socket_path: Path) -> str | None | Finding:
    """Return the cloud's own problem, or the finding that it does not answer.

    The socket works even if the certificate has expired.
    """
    if not os.access(socket_path.parent, os.X_OK):
        advice = "run this as the cloud's user, or as root"
        return Finding("cloud", NOTE, f"this user cannot access {socket_path}", advice)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path))) as client:
            answer = client.get("http://localhost/readyz", timeout=READY_S).json()
            problem: str | None = answer["problem"]
            return problem
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        advice = "find the reason at the end of its log: journalctl -u ivota"
        return Finding("cloud", BAD, f"no cloud answers at {socket_path}", advice)


def _certificate(certificate: Certificate) -> Finding:
    from ..cloud import CloudError
    from ..cloud.tls_certificate import OLD_S

    advice = "renew it, then run `systemctl reload ivota`"
    try:
        left_s = certificate.expires() - time.time()
    except CloudError as error:
        return Finding("certificate", BAD, str(error), "check tls_cert and tls_key")
    if left_s <= 0:
        return Finding("certificate", BAD, f"{certificate.chain} has expired", advice)
    found = f"{certificate.chain} expires in {span(left_s)}"
    old = left_s < OLD_S
    return Finding("certificate", NOTE if old else GOOD, found, advice if old else "")


def _ports(ports: Mapping[int, str]) -> Iterator[Finding]:
    for port, option in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                advice = f"choose another with {option}, or stop the program that uses it"
                yield Finding(f"port {port}", BAD, error.strerror or str(error), advice)
                continue
        yield Finding(f"port {port}", GOOD, "free")
