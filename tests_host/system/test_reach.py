"""A board with a certificate of its own and other topics, and a cloud that asks for both."""

from __future__ import annotations

from pathlib import Path

import pytest
from board_support import MakeBoard
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Certificate, Cloud
from ivota_workshop.bench.reach.file_servers import issue_chain

PREFIX = "fleet/ota"


def test_a_certificate_and_other_topics(
    application: MakeBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_chain(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    (tmp_path / "f.bin").write_bytes(bytes(range(256)) * 100)
    with Cloud(
        tmp_path / "cloud",
        sign_in=True,
        certificate=Certificate(tmp_path / "chain.pem", tmp_path / "leaf.key"),
        device_ca={"P": tmp_path / "middle.pem"},
        topic_prefix=PREFIX,
    ) as cloud:
        url = f"https://localhost:{cloud.http_port}"
        cloud.public_url = url
        with Client(url) as api:
            api.upload(tmp_path / "f.bin", "0.2")
            board = application(
                {
                    "/ca.pem": tmp_path / "root.pem",
                    "/own.pem": tmp_path / "board.pem",
                    "/own.key": tmp_path / "board.key",
                },
                port=cloud.mqtt_port,
                device_name="reach",
                mqtt={
                    "host": "localhost",
                    "tls": True,
                    "ca": "/ca.pem",
                    "cert": "/own.pem",
                    "key": "/own.key",
                },
                http={"ca": "/ca.pem"},
                topics={
                    name: f"{PREFIX}/{name}/{{product_id}}/{{device_name}}"
                    for name in ("report", "update")
                },
            )
            board.power_on()
            wait_until(lambda: any(each["version"] == "0.1" for each in api.devices()), "a report")
            api.push("P/reach", "0.2")
            wait_until(lambda: api.device("P/reach")["state"] == "done", "done")
