"""Test devices over TLS with a pre-shared key, using OpenSSL's and mosquitto's own clients."""

from __future__ import annotations

import base64
import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.toolchain import mosquitto_pub, openssl

from .strict_client import WAIT_S, MqttLink, StrictDevice

PRODUCT = "PSK0000001"
KEY = b"sixteen bytes or"  # the vendor's secrets decode to 16 bytes, too
VERSION = "0.2"
# The only ciphers that the vendor's C SDKs offer.
SDK = ("-tls1_2", "-cipher", "PSK-AES128-CBC-SHA:PSK-AES256-CBC-SHA")


@dataclass
class Stage:
    cloud: Cloud
    api: Client
    data: bytes

    def add(self, name: str, key: bytes = KEY, product: str = PRODUCT) -> int:
        """Add a device with a secret and a target; return its id."""
        device = self.api.push(f"{product}/{name}", VERSION, new=True)["device"]
        number = int(device["id"])
        self.api.set_secret(number, base64.b64encode(key).decode())
        return number

    @contextlib.contextmanager
    def link(self, identity: str, key: bytes = KEY, *options: str) -> Iterator[MqttLink]:
        """Return a connection through `openssl s_client`."""
        ours, its = socket.socketpair()
        ours.settimeout(WAIT_S)
        command: list[str] = [
            *openssl(),
            *("s_client", "-connect", f"127.0.0.1:{self.cloud.psk_port}", "-quiet"),
            *("-psk_identity", identity, "-psk", key.hex(), *(options or SDK)),
        ]
        process = subprocess.Popen(
            command, stdin=its.fileno(), stdout=its.fileno(), stderr=subprocess.DEVNULL
        )
        its.close()
        try:
            yield MqttLink(ours)
        finally:
            ours.close()
            process.kill()
            process.wait()

    def publish(self, client_id: str, identity: str, key: bytes = KEY) -> bool:
        """Return whether mosquitto_pub is accepted and its message is acknowledged."""
        command = [
            *mosquitto_pub(),
            *("-h", "127.0.0.1", "-p", str(self.cloud.psk_port), "-i", client_id, "-q", "1"),
            *("--psk", key.hex(), "--psk-identity", identity, "-m", "x", "-t", "$ota/report/x/y"),
        ]
        done = subprocess.run(command, capture_output=True, timeout=WAIT_S)
        return done.returncode == 0

    @contextlib.contextmanager
    def device(self, name: str, *options: str) -> Iterator[StrictDevice]:
        with self.link(PRODUCT + name, KEY, *options) as link:
            code = link.connect(PRODUCT + name, f"{PRODUCT}{name};12010126;Ab3dE;2147483647")
            if code:
                raise ConnectionError(f"CONNACK says {code}")
            yield StrictDevice(link, f"{PRODUCT}/{name}")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Run a cloud for devices with secrets."""
    with tempfile.TemporaryDirectory(prefix="ivota-reach-") as name:
        folder, data = Path(name), b"firmware" * 5000
        (folder / "f.bin").write_bytes(data)
        with (
            Cloud(folder / "cloud", sign_in=True, psk_port=0) as cloud,
            Client(cloud.api_url) as api,
        ):
            api.upload(folder / "f.bin", VERSION)
            yield Stage(cloud, api, data)


def updates(stage: Stage, name: str) -> bool:
    """Return whether a new device of this name receives a whole firmware."""
    stage.add(name)
    with stage.device(name) as device:
        device.hello("0.1")
        return device.update(device.pushed()) == stage.data


def removed_cut_s(stage: Stage, name: str) -> float:
    """Measure how long a device stays connected after its secret is removed."""
    number = stage.add(name)
    with stage.device(name) as device:
        device.hello("0.1")
        device.pushed()
        start = time.monotonic()
        stage.api.remove_secret(number)
        while device.mqtt.link.recv(4096):
            pass
        return time.monotonic() - start
