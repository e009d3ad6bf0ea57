"""Whole updates with the cloud itself: several in a row, a bad link, URLs that expire."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from board_support import settings, wait_noted
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board, Cut, Proxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "thermometer"
SIZE = 708_482  # bytes, as in the vendor's own example


@pytest.fixture
def cloud(broker, tmp_path):
    with Cloud(tmp_path / "cloud", broker=f"127.0.0.1:{broker.port}", url_ttl_s=2) as result:
        yield result


@pytest.fixture
def api(cloud):
    with Client(cloud.api_url) as result:
        yield result


def release(api: Client, folder: Path, version: str, size: int | None = None) -> bytes:
    """Packs the example, uploads it, and returns the firmware."""
    out = folder / f"{version}.bin"
    pack(EXAMPLE, version, out=out, application="thermometer", pad_to=size)
    api.upload(out)
    return out.read_bytes()


def update(api: Client, name: str, version: str) -> None:
    """Pushes, and returns once the cloud says that the update is done."""
    device = api.push(f"P/{name}", version, new=True)["device"]
    *_, device = api.wait(device["id"], WAIT_S)
    assert (device["state"], device["version"], device["result_code"]) == ("done", version, 0)


@pytest.mark.matrix
@pytest.mark.slow
def test_three_updates_of_the_vendors_size(agent, api, name, wire, tmp_path):
    """Two copies fit on a stock board's file system, three do not: the oldest makes room."""
    board = agent()
    board.power_on()
    wire.wait_version("0.1")
    previous = None
    for version in ("0.2", "0.3", "0.4"):
        data = release(api, tmp_path, version, SIZE)
        update(api, name, version)
        active = f"/firmware/{version}.bin"
        state = json.loads(board.read("/ivota-state.json"))
        assert state["active"] == active
        assert state.get("previous") == previous
        assert hashlib.sha256(board.read(active)).digest() == hashlib.sha256(data).digest()
        previous = active
    assert board.listdir("/firmware") == ["0.3.bin", "0.4.bin"]
    assert (board.starts, board.resets, board.power_cuts) == (4, 3, 0)
    assert [each.json["report"]["version"] for each in wire.of("done")] == ["0.2", "0.3", "0.4"]
    wait_noted(board)
    board.power_cut()
    heard = len(wire.messages)
    board.power_on()
    wire.wait_version("0.4", after=heard)
    board.stop()
    assert len(wire.of("done")) == 3
    assert not wire.of("fail")


@pytest.mark.matrix
@pytest.mark.slow
def test_a_bad_link_on_both_sides(agent, cloud, api, broker, name, wire, proxy, tmp_path):
    """Cuts of every kind towards the server and the broker; each byte counts once or twice."""
    http, mqtt = proxy(cloud.http_port), proxy(broker.port)
    cloud.public_url = f"http://127.0.0.1:{http.port}"
    data = release(api, tmp_path, "0.2", 300_000)
    kinds = ["fin", "rst", "silence"] * 2
    http.schedule([Cut(40_000, kind) for kind in kinds])
    http.pace(150_000)
    board = agent(port=mqtt.port, http={"deadline_s": 1})
    board.power_on()
    wire.wait_version("0.1")
    device = api.push(f"P/{name}", "0.2", new=True)["device"]
    for at in (50_000, 150_000, 250_000):
        http.wait_received(at)
        mqtt.cut_now("rst")
    *_, device = api.wait(device["id"], WAIT_S)
    assert (device["state"], device["version"]) == ("done", "0.2")
    assert [cut.kind for cut in http.cuts] == kinds
    # Each cut costs its answer's header and what was on its way, no more.
    assert http.received < 300_000 + 7 * 16_384
    assert board.power_cuts == 0 and board.resets == 1
    assert not wire.of("fail") and len(wire.of("done")) == 1
    board.stop()
    assert board.read("/firmware/0.2.bin") == data


@pytest.mark.slow
def test_urls_that_expire_during_the_download(agent, cloud, api, name, wire, proxy, tmp_path):
    """Each lives 2 s, the download takes longer and is cut: a fresh one is asked for."""
    http = proxy(cloud.http_port)
    cloud.public_url = f"http://127.0.0.1:{http.port}"
    data = release(api, tmp_path, "0.2", 200_000)
    http.pace(40_000)
    board = agent()
    board.power_on()
    wire.wait_version("0.1")
    device = api.push(f"P/{name}", "0.2", new=True)["device"]
    http.wait_received(130_000)
    http.cut_now("rst")
    *_, device = api.wait(device["id"], WAIT_S)
    assert (device["state"], device["version"]) == ("done", "0.2")
    urls = {each.json["url"] for each in wire.from_cloud if each.kind == "update_firmware"}
    assert len(urls) == 2
    board.wait_log("HTTP 403")
    assert not wire.of("fail")
    assert http.received < 200_000 + 3 * 16_384, "it began again"
    board.stop()
    assert board.read("/firmware/0.2.bin") == data


@pytest.mark.slow
@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("mpy", [True, False], ids=["mpy", "py"])
def test_every_kind_of_interpreter(broker, api, name, wire, tmp_path, bits, mpy):
    """Compiled or from source, 32 bits or 64: the same messages in the same order."""
    data = release(api, tmp_path, "0.2")
    config = settings(name, broker.port)
    with Board(tmp_path / "board", bits=bits, mpy=mpy, config=config) as board:
        board.install()
        board.power_on()
        wire.wait_version("0.1")
        update(api, name, "0.2")
        assert wire.states() == ["version 0.1", "downloading", "burning", "version 0.2", "done"]
        board.stop()
        assert board.read("/firmware/0.2.bin") == data


@pytest.mark.slow
def test_an_update_without_a_second_look_at_the_cloud(agent, api, cloud, name, wire, tmp_path):
    """The cloud is gone while the board starts its new version: `done` comes when it is back."""
    data = release(api, tmp_path, "0.2")
    with Proxy("127.0.0.1", cloud.mqtt_port) as mqtt:
        board = agent(port=mqtt.port)
        board.power_on()
        wire.wait_version("0.1")
        device = api.push(f"P/{name}", "0.2", new=True)["device"]
        board.wait_log("sim: reset")
        mqtt.refuse()
        mqtt.cut_now("rst")
        board.wait_log("link_lost", start=len(board.log))
        mqtt.accept()
        *_, device = api.wait(device["id"], WAIT_S)
        assert (device["state"], device["version"]) == ("done", "0.2")
        board.stop()
    assert board.read("/firmware/0.2.bin") == data
