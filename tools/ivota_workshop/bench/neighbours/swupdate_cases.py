"""Updates of SWUpdate as Debian ships it, case by case."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from ivota_tools.sim import Cut, Proxy

from .ddi_stage import Stage, expect
from .swupdate import SUCCESS, Device, Signer, make_swu

SIZE = 3_000_000


def installed_after_a_restart(stage: Stage) -> None:
    """The file is compared byte for byte; only the restarted system ends the deployment."""
    device, signer = _device(stage)
    payload = secrets.token_bytes(SIZE)
    with device.running():
        _seen(stage, device)
        _push(stage, device, signer, payload)
        stage.wait(lambda: "All Chunks Installed." in _said(stage, device), "the installation")
        expect(device.target.read_bytes() == payload, True, "the installed file is the pushed one")
        expect(device.state(), "burning", "state before the restart")
    expect(device.state(), "burning", "state while it is off")
    with device.running("-c", SUCCESS):
        device.wait_for("done")
    found = stage.device(device.name)
    expect(found["version"], found["target"], "version")


def wrong_signature(stage: Stage) -> None:
    device, _ = _device(stage)
    stranger = Signer(stage.folder, f"{device.name}-stranger")
    with device.running():
        _seen(stage, device)
        _push(stage, device, stranger, secrets.token_bytes(1000))
        for _ in range(2):
            device.wait_for("retry")
            stage.end_back_off(device.name)
            stage.wait(lambda: device.state() != "retry", "the next try")
        device.wait_for("failed")
    said = str(stage.device(device.name)["failure_msg"])
    # swupdate sends the last errors that it has logged; which ones depends on its threads.
    words = ("sign", "verif", "no suitable .swu image")
    expect(any(word in said.lower() for word in words), True, f"the reason: {said}")
    expect(device.target.exists(), False, "a file with a wrong signature was installed")


def resumed_after_a_cut(stage: Stage) -> None:
    device, signer = _device(stage)
    payload = secrets.token_bytes(SIZE)
    with _through_proxy(stage) as proxy, device.running():
        _seen(stage, device)
        proxy.schedule([Cut(SIZE // 2)])
        _push(stage, device, signer, payload)
        stage.wait(lambda: "All Chunks Installed." in _said(stage, device), "the installation")
        received, cuts = proxy.received, len(proxy.cuts)
    expect(cuts, 1, "cuts")
    expect(device.target.read_bytes() == payload, True, "the installed file is the pushed one")
    expect(received < 1.3 * SIZE, True, "it fetched only the rest after the cut")


def cancelled(stage: Stage) -> None:
    """While SWUpdate downloads, an operator cancels."""
    device, signer = _device(stage)
    with _through_proxy(stage) as proxy, device.running():
        _seen(stage, device)
        proxy.pace(SIZE / 20)
        _push(stage, device, signer, secrets.token_bytes(SIZE))
        stage.wait(lambda: proxy.received > SIZE // 10, "a tenth of the download")
        stage.api.cancel_device(int(stage.device(device.name)["id"]))
        poller = stage.controller(device.name)
        stage.wait(lambda: "cancellation acknowledged." in _said(stage, device), "the answer")
        poller.expect_nothing()
        fetched = proxy.received
    expect(fetched < SIZE, True, "the download ended early")
    expect(device.state(), "cancelled", "state")


CASES = {
    "installed after a restart": installed_after_a_restart,
    "a wrong signature": wrong_signature,
    "resumed after a cut": resumed_after_a_cut,
    "cancelled in the middle": cancelled,
}


@contextlib.contextmanager
def _through_proxy(stage: Stage) -> Iterator[Proxy]:
    """Put a link that can be cut between the device and the cloud."""
    before = stage.cloud.public_url
    with contextlib.closing(Proxy("127.0.0.1", stage.cloud.http_port)) as proxy:
        stage.cloud.public_url = f"http://127.0.0.1:{proxy.port}"
        try:
            yield proxy
        finally:
            stage.cloud.public_url = before


def _device(stage: Stage) -> tuple[Device, Signer]:
    name = stage.new_name()
    signer = Signer(stage.folder, name)
    return Device(stage, name, signer), signer


def _seen(stage: Stage, device: Device) -> None:
    def names() -> bool:
        return any(each["device_name"] == device.name for each in stage.api.devices())

    stage.wait(names, "the first poll")


def _push(stage: Stage, device: Device, signer: Signer, payload: bytes) -> None:
    data = make_swu(device.folder, signer, payload, device.target)
    stage.push(device.name, stage.upload(data))


def _said(stage: Stage, device: Device) -> list[str]:
    found = stage.api.reports(int(stage.device(device.name)["id"]))
    return [str(each["result_msg"]) for each in found]
