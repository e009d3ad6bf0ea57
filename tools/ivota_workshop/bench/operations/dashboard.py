"""Run each query of the Grafana dashboard on a Prometheus that scrapes a running cloud."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ivota_tools.cloud import Certificate, Cloud
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.cloud.store.backup import back_up
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.toolchain import monitoring

from ..holds.devices import self_signed
from .alerts import FOLDER, RULES

LIMIT_S = 120.0  # for every query to have an answer
REPORT = b'{"type":"report_version","report":{"version":"0.1"}}'
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: ivota
    scheme: https
    tls_config: {{insecure_skip_verify: true}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
    authorization: {{credentials_file: "{token}"}}
"""


def queries() -> dict[str, str]:
    """Return the dashboard's queries with values for its variables, by panel and letter."""
    found = {}
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$job", "ivota").replace("$__rate_interval", "10s")
            found[f"{panel['title']} {target['refId']}"] = query
    return found


def metrics_named(text: str) -> set[str]:
    """Return the names of ivota's metrics in queries or rules."""
    return set(re.findall(r"\bivota_\w+", text))


def unanswered(folder: Path) -> dict[str, str]:
    """Return the queries without an answer from Prometheus, and the alerts that it can't load."""
    left = queries()
    with _cloud(folder) as cloud, _prometheus(folder, cloud) as url:
        deadline = time.monotonic() + LIMIT_S
        while left and time.monotonic() < deadline:
            _traffic(cloud)
            left = {name: query for name, query in left.items() if not _answers(url, query)}
        rules = _ask(url, "rules")["groups"]
    failed = {
        rule["name"]: rule["lastError"]
        for group in rules
        for rule in group["rules"]
        if rule["health"] != "ok"
    }
    return left | failed if rules else left | {"alerts": "none was loaded"}


@contextlib.contextmanager
def _cloud(folder: Path) -> Iterator[Cloud]:
    chain, key = self_signed(folder)
    with Cloud(folder / "data", certificate=Certificate(chain, key)) as cloud:
        back_up(cloud.folder, None, folder / "backup")
        yield cloud


@contextlib.contextmanager
def _prometheus(folder: Path, cloud: Cloud) -> Iterator[str]:
    token, file = folder / "token", folder / "prometheus.yml"
    token.write_text(local_token(cloud.folder))
    file.write_text(
        CONFIGURATION.format(rules=RULES, port=cloud.http_port, token=token), encoding="utf-8"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *monitoring.prometheus(),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={where}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, cwd=folder)
    try:
        yield f"http://{where}/api/v1"
    finally:
        process.terminate()
        process.wait()


def _traffic(cloud: Cloud) -> None:
    """Make requests and send a report, so that rates have something to count."""
    token = {"Authorization": f"Bearer {local_token(cloud.folder)}"}
    with httpx.Client(verify=False, headers=token) as http:
        for path in ("/api/v1/devices", "/sign-in", "/nothing"):
            http.get(f"{cloud.api_url}{path}")
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.tls_set(cert_reqs=ssl.CERT_NONE)
    client.tls_insecure_set(True)
    client.connect("127.0.0.1", cloud.mqtt_port)
    client.loop_start()
    client.publish("$ota/report/P/d", REPORT, 1).wait_for_publish(10)
    end(client)
    time.sleep(0.5)


def _answers(url: str, query: str) -> bool:
    found = _ask(url, "query", query=query)
    samples = [float(each["value"][1]) for each in found.get("result", ())]
    return any(value == value for value in samples)  # NaN is not an answer


def _ask(url: str, what: str, **words: str) -> dict[str, Any]:
    try:
        answer = httpx.get(f"{url}/{what}", params=words).json()
    except (httpx.HTTPError, ValueError):  # it is still starting
        return {}
    if answer["status"] != "success":
        raise ValueError(f"{words}: {answer}")
    return dict(answer["data"])
