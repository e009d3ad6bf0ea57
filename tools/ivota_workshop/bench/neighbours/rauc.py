"""RAUC's client for hawkBit as Debian ships it, without the service that installs a bundle."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ivota_tools.toolchain import rauc_hawkbit_updater

from .ddi_stage import TENANT, WAIT_S, Stage, expect

SQUASHFS = b"hsqs"  # how a bundle of RAUC begins
CONFIGURATION = """\
[client]
hawkbit_server=127.0.0.1:{port}
ssl=false
tenant_id={tenant}
target_name={name}
gateway_token={token}
bundle_download_location={bundle}
retry_wait=1
[device]
version=1.5
hardware=rev-b
"""


def downloads_a_bundle(stage: Stage) -> None:
    """Check that it identifies itself, downloads, compares the checksum, and reports that it can't
    install.
    """
    name = stage.new_name()
    with _running(stage, name):
        stage.wait(lambda: _known(stage, name), "the first poll and its attributes")
        expect(stage.device(name)["hardware"], "rev-b", "hardware")
        stage.push(name, stage.upload(SQUASHFS + secrets.token_bytes(1_000_000)))
        stage.wait(lambda: stage.device(name)["state"] == "retry", "the failed installation")
    found = stage.api.reports(int(stage.device(name)["id"]))
    said = [str(each["result_msg"]) for each in found]
    expect("File checksum OK." in said, True, f"it compared the checksum: {said}")
    expect(stage.device(name)["failure_msg"], "Failed to install software bundle.", "reason")


def _known(stage: Stage, name: str) -> bool:
    for each in stage.api.devices():
        if each["device_name"] == name:
            return bool(each["version"] == "1.5")
    return False


@contextlib.contextmanager
def _running(stage: Stage, name: str) -> Iterator[None]:
    path = Path(stage.folder / f"{name}.conf")
    path.write_text(
        CONFIGURATION.format(
            port=stage.cloud.http_port,
            tenant=TENANT,
            name=name,
            token=stage.token,
            bundle=stage.folder / f"{name}.raucb",
        )
    )
    # Also where RAUC is installed, the service of this machine is not asked.
    environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={stage.folder}/none", "PATH": "/usr/bin"}
    process = subprocess.Popen(
        [*rauc_hawkbit_updater(), "-c", str(path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(WAIT_S)


CASES = {"downloads a bundle": downloads_a_bundle}
