"""Boards download from an object store by URLs that the cloud has signed.

The server before moto recomputes each signature. The credentials are temporary ones, so a URL has
more than 1,300 characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import object_store
import pytest
from board_support import MakeBoard
from waiting import WAIT_S, wait_until
from wire import Wire

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.cloud.store.file_store_settings import StoreSettings
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Cut, Proxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "thermometer"
SIZE = 300_000


@pytest.fixture(scope="module")
def front() -> Iterator[object_store.Front]:
    with object_store.running() as made:
        made.each_works_once = False
        yield made


@pytest.fixture
def link(
    front: object_store.Front, proxy: Callable[[int], Proxy], monkeypatch: pytest.MonkeyPatch
) -> Proxy:
    """The network in front of the store, for boards and for the cloud."""
    made = proxy(front.server_address[1])
    for name, value in front.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{made.port}")
    front.ask("empty")
    front.answers.clear()
    return made


@pytest.fixture
def cloud(link: Proxy, broker: Broker, tmp_path: Path) -> Iterator[Cloud]:
    store = StoreSettings(f"s3://{object_store.BUCKET}/firmware")
    where = f"127.0.0.1:{broker.port}"
    with Cloud(tmp_path / "cloud", broker=where, store=store) as made:
        yield made


def release(api: Client, folder: Path, version: str) -> bytes:
    out = folder / f"{version}.bin"
    pack(EXAMPLE, version, out=out, application="thermometer", pad_to=SIZE)
    api.upload(out)
    return out.read_bytes()


@pytest.mark.matrix
@pytest.mark.slow
def test_an_update_by_signed_urls(
    agent: MakeBoard,
    cloud: Cloud,
    front: object_store.Front,
    link: Proxy,
    wire: Wire,
    name: str,
    tmp_path: Path,
) -> None:
    """Cuts of the link, URLs that expire in mid-download, and a power cut: no byte is lost."""
    with Client(cloud.api_url) as api:
        data = release(api, tmp_path, "0.2")
        front.answers.clear()
        board = agent(hardware="rev-a")
        board.power_on()
        wait_until(lambda: any(b"max_message" in each.raw for each in wire.messages), "the limit")
        before = link.received
        link.pace(150_000)
        link.schedule([Cut(40_000, "rst")])
        device = api.push(f"P/{name}", "0.2", new=True)["device"]
        link.wait_received(before + 90_000)
        assert link.cuts
        front.expire()
        link.cut_now("fin")
        link.wait_received(before + 150_000)
        assert 403 in [status for _, status in front.answers]
        board.power_cut()
        front.expire()
        board.power_on()
        *_, device = api.wait(device["id"], WAIT_S)
        assert (device["state"], device["version"]) == ("done", "0.2")
    urls = [each.json["url"] for each in wire.from_cloud if each.kind == "update_firmware"]
    assert len(set(urls)) >= 3 and all(len(url) > 1300 for url in urls)
    assert all(url.startswith(f"http://127.0.0.1:{link.port}/") for url in urls)
    # Each interruption costs its answer's header and what was on its way, no more.
    assert link.received - before < SIZE + 8 * 16_384
    assert not wire.of("fail")
    board.stop()
    assert board.read("/firmware/0.2.bin") == data
