"""The cloud speaks TLS itself: real boards over both ports, and what it does not start with."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path

import mosquittos
import pytest
from certificates import Issued, issue
from pages_support import Visitor, let_in
from waiting import WAIT_S

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Certificate, Cloud, CloudError
from ivota_tools.cloud.accounts.tokens import local_token
from ivota_tools.sim import Board


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("authority"), "authority", "an authority")


@pytest.fixture(scope="module")
def issued(authority: Issued, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("server"), "server", "localhost", authority)


@pytest.fixture
def trusted(authority: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trusts the authority, as a machine does that has it installed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))


def start(folder: Path, issued: Issued, **options: object) -> Cloud:
    cloud = Cloud(folder, certificate=Certificate(issued.pem, issued.key_pem), **options)
    cloud.start()
    cloud.public_url = f"https://localhost:{cloud.http_port}"
    return cloud


@pytest.mark.slow
@pytest.mark.parametrize("sign_in", [False, True], ids=["open", "sign in"])
def test_a_board_is_updated_over_tls_alone(
    sign_in: bool,
    application: Callable[..., Board],
    authority: Issued,
    issued: Issued,
    trusted: None,
    firmware: Callable[..., bytes],
    name: str,
    tmp_path: Path,
) -> None:
    """With the configuration that the console shows, of the first board or of one it adds."""
    data = firmware()
    (tmp_path / "f.bin").write_bytes(data)
    cloud = start(tmp_path / "cloud", issued, sign_in=sign_in)
    try:
        let_in(cloud, "operator")
        with Visitor(cloud.public_url, "operator") as visitor:
            text = visitor.get("/")
            if sign_in:
                visitor.get("/devices/new")
                text = visitor.post("/devices/new", product="P", name=name)
            shown = json.loads(text[text.index("{") : text.index("} Copy") + 1])
            assert "mpremote fs cp ca.pem :/ca.pem" in text and "sim board" not in text
        with Client(cloud.public_url, local_token(cloud.folder)) as api:
            api.upload(tmp_path / "f.bin", "0.2")
            device = api.push(f"P/{name}", "0.2", new=True)["device"]
            board = application(
                {"/ca.pem": authority.pem},
                port=cloud.mqtt_port,
                mqtt=shown["mqtt"],
                http=shown["http"],
                device_secret=shown.get("device_secret"),
            )
            board.power_on()
            *_, device = api.wait(device["id"], WAIT_S)
            assert device["state"] == "done"
            assert board.read("/firmware/0.2.bin") == data
    finally:
        cloud.stop()


def test_who_does_not_trust_the_authority_is_told(
    issued: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    cloud = start(tmp_path / "cloud", issued)
    try:
        with Client(cloud.public_url) as api, pytest.raises(ApiError, match="SSL_CERT_FILE"):
            api.health()
        with Client(cloud.public_url.replace("https", "http")) as api, pytest.raises(ApiError):
            api.health()
        # Nor does its broker talk with who speaks no TLS.
        with socket.create_connection(("127.0.0.1", cloud.mqtt_port), timeout=WAIT_S) as link:
            link.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x")
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(100)[:1] != b"\x20"  # no CONNACK
    finally:
        cloud.stop()


def test_a_broker_behind_tls(issued: Issued, trusted: None, tmp_path: Path) -> None:
    settings = f"certfile {issued.pem}", f"keyfile {issued.key_pem}"
    with mosquittos.running(tmp_path, "allow_anonymous true", *settings) as mosquitto:
        with Cloud(tmp_path / "c", broker=f"mqtts://localhost:{mosquitto.port}") as cloud:
            with Client(cloud.api_url) as api:
                assert api.health()["mqtt_connected"]
        with pytest.raises(CloudError, match="cannot reach an MQTT broker"):
            Cloud(tmp_path / "c", broker=f"mqtts://127.0.0.1:{mosquitto.port}").start()


def test_files_that_are_no_certificate(authority: Issued, issued: Issued, tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    for chain, key, words in (
        (none, issued.key_pem, "cannot read .*none.pem"),
        (issued.pem, none, "cannot read .*none.pem"),
        (issued.key_pem, issued.pem, "are not a certificate and its unencrypted key"),
        (issued.pem, authority.key_pem, "are not a certificate and its unencrypted key"),
    ):
        with pytest.raises(CloudError, match=words):
            Cloud(tmp_path / "c", certificate=Certificate(chain, key)).start()
    with pytest.raises(CloudError, match="https://"):
        Cloud(
            tmp_path / "c",
            certificate=Certificate(issued.pem, issued.key_pem),
            public_url="http://ota.example.org",
        )
