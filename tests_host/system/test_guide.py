"""docs/guide.md tells the truth: its programs and configurations are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from found import some
from waiting import WAIT_S

from ivota_tools.api_client import Client
from ivota_tools.board.config_check import parse_config
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board, Proxy
from ivota_workshop.bench.download.stage import Cloud as Talk
from ivota_workshop.bench.peers.run import Files

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text()

# The simulated board has no deep sleep: it ends in a reset here, as it does on a board.
SLEEP = """
import machine
def deepsleep(ms):
    print("sleeps", ms)
    machine.reset()
machine.deepsleep = deepsleep
"""


def section(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", GUIDE, re.M | re.S)
    assert found, title
    return found[1]


def block(title: str, language: str = "python") -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section(title), re.M | re.S)
    return str(found)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud") as found:
        yield found


def config(port: int) -> dict[str, object]:
    talk = {"host": "127.0.0.1", "port": port}
    return {"product_id": "P", "device_name": "d", "version": "1.0", "mqtt": talk}


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Add ivota to your own main.py", "An asyncio application"])
def test_a_program_of_its_own_with_a_client(title: str, cloud: Cloud, tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(30_000))
    files = {"/main.py": block(title).encode()}
    with (
        Client(cloud.api_url) as api,
        Board(tmp_path / "b", config=config(cloud.mqtt_port), files=files) as board,
    ):
        board.install()
        board.power_on()
        api.upload(model, "2.0")
        device = api.push("P/d", "2.0", new=True)["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert device["state"] == "done"
        assert "verified: 2.0 in /firmware/2.0.bin" in board.log
        board.wait_log("measured", start=len(board.log))


@pytest.mark.slow
def test_a_battery_device_goes_on_where_it_was(cloud: Cloud, tmp_path: Path) -> None:
    title = "A battery-powered device that wakes for minutes"
    program = block(title)
    assert "AWAKE_S = 180" in program
    program = program.replace("AWAKE_S = 180", "AWAKE_S = 2")
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(60_000))
    files = {"/boot.py": SLEEP.encode(), "/main.py": program.encode()}
    with (
        Client(cloud.api_url) as api,
        Proxy("127.0.0.1", cloud.http_port, buffer=2048) as link,
        Board(tmp_path / "b", config=config(cloud.mqtt_port), files=files) as board,
    ):
        link.pace(20_000)
        cloud.public_url = f"http://127.0.0.1:{link.port}"
        board.install()
        api.upload(model, "2.0")
        device = api.push("P/d", "2.0", new=True)["device"]
        board.power_on()
        *_, device = api.wait(device["id"], WAIT_S)
        start = len(board.log)
        board.wait_log("sleeps 3600000", start=start)
        board.wait_log("sleeps 3600000", start=len(board.log))  # awake once more for nothing
        board.stop()
        assert api.device("P/d")["version"] == "2.0"
        assert board.read("/model.bin") == model.read_bytes()
        assert board.resets >= 2
        # What was on its way when it went to sleep came twice, no more.
        assert link.received < 1.5 * 60_000


@pytest.mark.slow
def test_a_push_by_hand(tmp_path: Path) -> None:
    bundle = tmp_path / "greenhouse-0.3.bin"
    pack(ROOT / "examples" / "blink", "0.3", out=bundle)
    with (
        Broker(tmp_path / "broker", "127.0.0.1", 0, print) as broker,
        Files(bundle.read_bytes()) as files,
        Talk(broker.port, "d") as talk,
        Board(tmp_path / "b", config=config(broker.port)) as board,
    ):
        board.install()
        board.power_on()
        talk.wait_version("1.0")
        script = block("Files from nginx or an object store")
        for shown, here in (
            ("greenhouse-0.3.bin", str(bundle)),
            ("http://files.example/" + str(bundle), f"http://127.0.0.1:{files.port}/f"),
            ("HOME/esp32-1", "P/d"),
            ("192.168.1.20", "127.0.0.1"),
            ("port=1883", f"port={broker.port}"),
        ):
            assert shown in script
            script = script.replace(shown, here)
        exec(script, {})
        assert talk.wait_end("0.3")["state"] == "done"


@pytest.mark.slow
def test_the_first_roll_back(cloud: Cloud, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, first in (
        (good, "pass"),
        (bad, 'raise ValueError("on purpose")'),
    ):
        folder.mkdir()
        (folder / "app.py").write_text(f"async def main():\n    {first}\n")
    with (
        Client(cloud.api_url) as api,
        Board(tmp_path / "b", config=config(cloud.mqtt_port)) as board,
    ):
        board.install()
        board.power_on()
        for folder, version in ((good, "0.3"), (bad, "0.4")):
            bundle = tmp_path / f"{version}.bin"
            pack(folder, version, application="a", out=bundle)
            api.upload(bundle)
            start = len(board.log)
            device = api.push("P/d", version, new=True)["device"]
            if version == "0.3":
                *_, device = api.wait(device["id"], WAIT_S)
                assert device["state"] == "done"
        board.wait_log("running trial=False version=0.3", start=start)
        board.wait_log("connected", start=len(board.log) - 1)
        board.stop()
    shown = re.findall(r"^    (\w+(?: +\w+=.*)?)$", section("The first rollback"), re.M)
    # Of each start up to the trial's end; where the board went is its own.
    wanted = [re.sub(" +", " ", line) for line in shown]
    wanted = wanted[:2] * 3 + [wanted[2], "connecting", "connected"]
    said = [line.removeprefix("ivota: ") for line in board.log[start:]]
    found = iter(said)
    assert all(any(line.startswith(each) for line in found) for each in wanted), said


@pytest.mark.slow
def test_the_first_delta(cloud: Cloud, tmp_path: Path) -> None:
    text = section("The first delta")
    (release,) = re.findall(r"^    ivota (.+)$", text, re.M)
    app = tmp_path / "greenhouse"
    app.mkdir()
    (app / "app.py").write_text("async def main():\n    pass\n")
    old = tmp_path / "greenhouse-0.3.bin"
    pack(app, "0.3", out=old)
    with (
        Client(cloud.api_url) as api,
        Board(tmp_path / "b", config=config(cloud.mqtt_port), mpy=True) as board,
    ):
        board.install()
        api.upload(old)
        board.power_on()
        device = api.push("P/d", "0.3", new=True)["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert device["state"] == "done"
        (app / "app.py").write_text("async def main():\n    print('more')\n")
        subprocess.run(
            [sys.executable, "-m", "ivota_tools", *release.split()],
            cwd=tmp_path,
            env={**os.environ, "IVOTA_URL": cloud.api_url},
            check=True,
            capture_output=True,
            timeout=WAIT_S,
        )
        for name in some(re.findall(r"^    (greenhouse-0\.5\S*\.bin)", text, re.M), 2):
            assert (tmp_path / name).is_file(), name
        start = len(board.log)
        device = api.push("P/d", "0.5")["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert device["state"] == "done"
        board.stop()
        made = board.read("/firmware/0.5.new")  # what the patch was made into
    assert made == (tmp_path / "greenhouse-0.5.bin").read_bytes()
    shown = re.findall(r"^    (\w+ +\w+=.*)$", text, re.M)
    wanted = [re.sub("size=.*", "size=", re.sub(" +", " ", line)) for line in shown]
    said = iter(line.removeprefix("ivota: ") for line in board.log[start:])
    assert len(wanted) == 4
    assert all(any(line.startswith(each) for line in said) for each in wanted), board.log[start:]


def test_lines_that_are_shown_are_what_boards_print() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "lib" / "ivota").glob("*.py"))
    shown = re.findall(r"^    (\w+)(?: {2,}(\w+=.*))?$", GUIDE, re.M)
    shown += re.findall(r"^\| `(\w+)(?: (code=.*))?`", GUIDE, re.M)
    assert len(shown) > 15
    for event, fields in shown:
        written = re.findall(rf'log\(\s*"\w+",\s*"{event}"(.*)', sources)
        keys = re.findall(r"(\w+)=", fields)
        assert any(all(f" {key}=" in call for key in keys) for call in written), (event, keys)


def test_the_vendors_configuration_is_one() -> None:
    found = parse_config(block("Tencent's and Aliyun's clouds", "json").encode(), "guide.md", ROOT)
    assert found["device_secret"] and found["mqtt"]["tls"]


def test_the_boards_configuration_is_that_of_the_readme() -> None:
    found = parse_config(block("The board", "json").encode(), "guide.md", ROOT)
    readme = re.findall(r"^ *```json\n(.*?)^ *```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert [found] == [json.loads(each) for each in readme]
