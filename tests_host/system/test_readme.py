"""README.md is short, and its commands work; so do the examples and tests that pages name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.board.config_check import parse_config
from ivota_tools.cloud import Cloud
from ivota_tools.firmware.release import inspect, pack
from ivota_tools.sim import Board

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "examples" / "without_slots" / "main.py"
IVOTA = str(Path(sys.executable).with_name("ivota"))


DEFECTS = (ROOT / "docs" / "defects.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
LINES_MOST, SCREEN = 200, 20


def block(language: str) -> str:
    """The one code block of README.md in this language, without its indentation."""
    (found,) = re.findall(rf"^( *)```{language}\n(.*?)^ *```", README, re.M | re.S)
    return "".join(line.removeprefix(found[0]) for line in found[1].splitlines(True))


def commands() -> list[list[str]]:
    """The `ivota` commands that README.md tells a reader to type, as words."""
    return [line.split() for line in re.findall(r"^ {4,}(ivota .*)$", README, re.M)]


def test_it_is_read_in_thirty_seconds() -> None:
    lines = README.splitlines()
    assert len(lines) <= LINES_MOST
    screen = "\n".join(lines[:SCREEN])
    tagline, audience = screen.index("**Over-the-air updates"), screen.index("is for anyone")
    assert tagline < audience < screen.index("docs/images/demo.svg")
    assert "Not tried on hardware" in screen


def test_named_tests_exist() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests_host").glob("*/test_*.py"))
    cases = "".join(
        path.read_text() for path in (ROOT / "tools/ivota_workshop/bench/traps").glob("*.py")
    )
    names = re.findall(r"`(?:\w+\.py::)?(test_\w+)(?:\[(\w+)\])?`", DEFECTS)
    assert len(set(names)) == len(names) > 60
    for name, case in names:
        assert f"\ndef {name}(" in tests, name
        assert not case or f'"{case}"' in cases, case


def test_example_is_shown_as_it_is() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```\n" in GUIDE


@pytest.mark.slow
def test_example_without_slots(tmp_path: Path) -> None:
    model = os.urandom(20_000)
    (tmp_path / "model.bin").write_bytes(model)
    with Cloud(tmp_path / "cloud") as cloud, Client(cloud.api_url) as api:
        config = {
            "product_id": "P",
            "device_name": "d",
            "version": "1",
            "mqtt": {"host": "127.0.0.1", "port": cloud.mqtt_port},
        }
        with Board(tmp_path / "b", config=config, files={"/main.py": EXAMPLE}) as board:
            board.install()
            board.power_on()
            board.wait_log("connected")
            api.upload(tmp_path / "model.bin", "2")
            device = api.push("P/d", "2", new=True)["device"]
            *_, device = api.wait(device["id"], WAIT_S)
            assert device["state"] == "done"
            # `done` comes first, then the version.
            wait_until(lambda: api.device("P/d")["version"] == "2", "the version")
            board.power_cut()
            assert board.read("/model.bin") == model
            assert board.read("/version") == b"2"
            start = len(board.log)
            board.power_on()
            board.wait_log("connected", start=start)
            reports = [each["version"] for each in api.reports(device["id"])]
            assert reports[0] == "1"


@pytest.mark.slow
def test_example_with_a_plain_main(tmp_path: Path) -> None:
    """From one version to the next while the application keeps the main thread."""
    with Cloud(tmp_path / "cloud") as cloud, Client(cloud.api_url) as api:
        config = {
            "product_id": "P",
            "device_name": "d",
            "mqtt": {"host": "127.0.0.1", "port": cloud.mqtt_port},
        }
        with Board(tmp_path / "b", config=config) as board:
            board.install()
            board.power_on()
            for version in ("1", "2"):
                bundle = tmp_path / f"{version}.bin"
                pack(ROOT / "examples" / "blink", version, out=bundle)
                api.upload(bundle)
                device = api.push("P/d", version, new=True)["device"]
                *_, device = api.wait(device["id"], WAIT_S)
                assert (device["state"], device["version"]) == ("done", version)
            board.stop()
            assert board.read("/firmware/2.bin") == bundle.read_bytes()


@contextmanager
def readme_cloud(folder: Path) -> Iterator[dict[str, Any]]:
    """`ivota cloud` as README.md starts it, but for its address and ports; what it prints."""
    words = next(words for words in commands() if words[1] == "cloud")
    words[words.index("--host") + 1] = "127.0.0.1"
    at = words.index("--public-url")
    del words[at : at + 2]
    words += ["--port", "0", "--mqtt-port", "0", "--data", str(folder), "--json"]
    process = subprocess.Popen([IVOTA, *words[1:]], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0


@pytest.mark.slow
def test_commands_of_the_first_update(tmp_path: Path) -> None:
    config = parse_config(block("json").encode(), "README.md", ROOT)
    assert config["wifi"]
    with readme_cloud(tmp_path / "cloud") as cloud:
        environment = {**os.environ, "IVOTA_URL": cloud["api_url"], "IVOTA_PASSPHRASE": "x"}
        config["mqtt"] = {"host": "127.0.0.1", "port": cloud["mqtt_port"]}
        name = f"{config['product_id']}/{config['device_name']}"
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        with Board(tmp_path / "b", config=config) as board:
            board.install()
            board.power_on()
            board.wait_log("connected")
            for words in commands():
                if words[1] in ("release", "push", "devices", "keygen"):
                    done = subprocess.run(
                        [IVOTA, *words[1:]],
                        cwd=tmp_path,
                        env=environment,
                        capture_output=True,
                        text=True,
                        timeout=WAIT_S,
                    )
                    assert done.returncode == 0, done.stdout + done.stderr
            board.wait_log(r"thermometer: \d+\.\d C, mean \d+\.\d C \(simulated\)")
        signed = inspect(tmp_path / "thermometer-0.4.bin").signed
        assert signed and signed.target == "thermometer"
        with Client(cloud["api_url"]) as api:
            device = api.device(name)
        assert (device["state"], device["version"]) == ("done", "0.2")
