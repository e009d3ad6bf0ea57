"""Check a running cloud for `ivota doctor`: broker, public URL, certificate, last backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from ..api_client import Json
from ..common.api_connection import LOOPBACK
from ..common.durations import ago, span

GOOD, NOTE, BAD = "ok", "note", "problem"
DISK_LEAST = 1 << 30  # bytes
EXPIRES_S = 14 * 86400.0
BACKUP_S = 2 * 86400.0  # the age at which Prometheus warns, too
BROKEN = 'see "When something breaks" in docs/operate.md'
ANSWER_S = 10.0


class Finding(NamedTuple):
    """The result of a check; `advice` is what to do, or ""."""

    what: str
    state: str
    found: str
    advice: str = ""


def running(url: str, cloud: Json) -> Iterator[Finding]:
    """Check the state that the cloud at `url` reports, and whether its public URL answers."""
    if cloud["ok"]:
        does = "is on standby" if cloud["standby"] else "is storing reports"
        yield Finding("cloud", GOOD, f"{url} {does}, version {cloud['version']}")
    else:
        yield Finding("cloud", BAD, f"{url}: {cloud['problem']}", BROKEN)
    if problem := cloud["store_problem"]:
        advice = "check the network, the credentials, and the bucket: `ivota store check`"
        yield Finding("firmware", BAD, f"{url}: {problem}", advice)
    ports = f"HTTP {cloud['http_port']}, MQTT {cloud['mqtt_port']}"
    if cloud["psk_port"] is not None and cloud["psk_port"] != cloud["mqtt_port"]:
        ports += f", MQTT with TLS-PSK {cloud['psk_port']}"
    yield Finding("ports of the cloud", GOOD, ports)
    yield _broker(cloud)
    yield _public(cloud)
    yield _certificate(cloud["certificate_expires_at"])
    yield _backup(cloud)
    yield disk(f"{cloud['data']}, {_gib(cloud['disk_free'])} free", cloud["disk_free"])


def disk(found: str, free: int) -> Finding:
    """Judge the free bytes of the data directory's disk."""
    low = free < DISK_LEAST
    return Finding("data directory", BAD if low else GOOD, found, "free some space" if low else "")


def _gib(count: int) -> str:
    return f"{count / (1 << 30):,.1f} GiB"


def _broker(cloud: Json) -> Finding:
    where = cloud["broker"] or "built in"
    if cloud["standby"]:
        return Finding("broker of the cloud", GOOD, f"{where}; another process is connected")
    if cloud["mqtt_connected"]:
        signs = "devices sign in" if cloud["sign_in"] else "devices need no secret"
        return Finding("broker of the cloud", GOOD, f"{where}, connected; {signs}")
    advice = "start the broker, or check the address and the password of --broker"
    return Finding("broker of the cloud", BAD, f"{where}, not connected", advice)


def _public(cloud: Json) -> Finding:
    """Request a file as a device does: without a signature, a cloud answers 403."""
    url, what = cloud["public_url"], "public URL"
    try:
        answer = httpx.get(f"{url}/files/0", timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = f"{url} does not answer: {error or type(error).__name__}"
        advice = "devices download from it: correct --public-url, or make it reachable"
        return Finding(what, BAD, words, advice)
    if answer.status_code != 403:
        words = f"{url}/files/ returned HTTP {answer.status_code}, so it is not an ivota cloud"
        return Finding(what, BAD, words, "correct --public-url, or make the proxy forward /files/")
    if urlsplit(url).hostname in LOOPBACK:
        advice = "for boards on the network: --host 0.0.0.0 --public-url http://ADDRESS:PORT"
        return Finding(what, NOTE, f"only this machine can reach {url}", advice)
    return Finding(what, GOOD, f"this machine can reach {url}")


def _certificate(expires: float | None) -> Finding:
    if expires is None:
        return Finding("certificate", GOOD, "none: the cloud itself does not use TLS")
    left = expires - time.time()
    if left < 0:
        return Finding(
            "certificate", BAD, f"expired {ago(expires)}", "renew it, then reload the cloud"
        )
    words = f"expires in {span(left)}"
    if left < EXPIRES_S:
        return Finding("certificate", NOTE, words, "renew it, then reload the cloud")
    return Finding("certificate", GOOD, words)


def _backup(cloud: Json) -> Finding:
    at, what = cloud["backup_at"], "last backup"
    advice = f"run every night: ivota backup FOLDER --data {cloud['data']}"
    if cloud["database"] == "postgresql":
        advice += ", with --database"
    if at is None:
        return Finding(what, NOTE, "never", advice)
    old = time.time() - at > BACKUP_S
    return Finding(what, NOTE if old else GOOD, ago(at), advice if old else "")
