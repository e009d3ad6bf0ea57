"""The power goes twenty times during one download; it still ends in `done`, the bytes right.

`IVOTA_KILLS_SEED=7 make test TESTS=tests_host/system/test_kills.py` kills at other instants.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Proxy

KILLS = 20
SIZE = 708_482  # bytes, as in the vendor's own example
RATE = 60_000  # bytes per second
SEGMENT = 1436  # bytes, what an ESP32 gets of one packet
EXAMPLE = Path(__file__).parents[2] / "examples" / "thermometer"


def header_size(url: str) -> int:
    """Bytes of the server's answer before the body."""
    parts = urlsplit(url)
    request = f"GET {parts.path}?{parts.query} HTTP/1.0\r\nRange: bytes=100000-100000\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as link:
        link.sendall(request.encode())
        answer = b""
        while piece := link.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 206")
    return len(answer) - 1


@pytest.mark.slow
def test_twenty_kills_in_one_download(
    agent, broker, name, wire, tmp_path, record_property, capsys
):
    seed = int(os.environ.get("IVOTA_KILLS_SEED", "20"))
    with capsys.disabled():
        print(f"\ntwenty kills: IVOTA_KILLS_SEED={seed}")
    chance = random.Random(seed)
    # Each kill comes when so many bytes have come in all, and up to two packets' time later:
    # inside what the board does with a packet. All of these are before the last byte.
    instants = sorted(chance.sample(range(1, SIZE - 4 * SEGMENT), KILLS))
    waits = [chance.uniform(0, 2 * SEGMENT / RATE) for _ in range(KILLS)]

    release = tmp_path / "0.2.bin"
    pack(EXAMPLE, "0.2", out=release, application="thermometer", pad_to=SIZE)
    with (
        Cloud(tmp_path / "cloud", broker=f"127.0.0.1:{broker.port}") as cloud,
        Proxy("127.0.0.1", cloud.http_port) as proxy,
        Client(cloud.api_url) as api,
    ):
        cloud.public_url = proxy_url = f"http://127.0.0.1:{proxy.port}"
        proxy.pace(RATE)
        proxy.segment(SEGMENT)
        api.upload(release)
        board = agent()
        board.power_on()
        wire.wait_version("0.1")
        device = api.push(f"P/{name}", "0.2", new=True)["device"]
        lengths = []
        for instant, wait in zip(instants, waits, strict=True):
            proxy.wait_received(instant, WAIT_S)
            time.sleep(wait)
            board.power_cut()
            lengths.append(len(board.read("/firmware/0.2.bin")))
            board.power_on()
        *_, device = api.wait(device["id"], WAIT_S)
        assert (device["state"], device["version"], device["result_code"]) == ("done", "0.2", 0)
        assert board.power_cuts == KILLS
        assert lengths == sorted(lengths) and lengths[-1] < SIZE, "durable bytes were lost"
        board.stop()
        data = release.read_bytes()
        assert hashlib.sha256(board.read("/firmware/0.2.bin")).digest() == (
            hashlib.sha256(data).digest()
        )
        assert board.listdir("/firmware") == ["0.2.bin"]

        offsets = [
            int(found[1])
            for line in board.log
            if (found := re.search(r"download offset=(\d+)", line))
        ]
        assert offsets[0] == 0
        # Each start that came so far as to ask resumes where the flash ends.
        assert set(offsets[1:]) <= set(lengths)
        percents = [message.percent for message in wire.of("downloading")]
        assert percents == sorted(percents) and percents[-1] == 100
        assert not wire.of("fail") and len(wire.of("done")) == 1

        pushes = [each.json for each in wire.from_cloud if each.kind == "update_firmware"]
        header = header_size(pushes[-1]["url"].replace(proxy_url, cloud.api_url))
        headers = sum(min(header, each.received) for each in proxy.connections)
        again = proxy.received - SIZE - headers
        figures = {
            "seed": seed,
            "received_bytes": proxy.received,
            "header_bytes": headers,
            "re_received_bytes": again,
            "connections": len(proxy.connections),
        }
        for key, value in figures.items():
            record_property(key, value)
        with capsys.disabled():
            print(f"twenty kills: {figures}")
        # At most a block that was not whole yet, and what was on its way.
        assert 0 <= again <= KILLS * (4096 + 4 * SEGMENT)
