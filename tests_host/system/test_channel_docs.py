"""What docs/guide.md and docs/channel.md say about channels is done as it stands there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_support import settings
from channel_sites import python_server
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.board.config_check import parse_config
from ivota_tools.sim import Board

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
GUIDE, CHANNEL = ((ROOT / "docs" / name).read_text() for name in ("guide.md", "channel.md"))
SAYS_KEY = """
import os

def main():
    print("the key is", os.getenv("IVOTA_KEY"), os.getenv("IVOTA_PASSPHRASE"))
    raise ValueError("on purpose")
"""


def chapter(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, title
    return found[1]


def run(words: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{words}\n{said}"
    return said


@pytest.mark.slow
def test_ten_minutes_with_a_web_host(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = chapter(GUIDE, "Ten minutes with a web host")
    (block,) = re.findall(r"```json\n(.*?)```", text, re.S)
    config = parse_config(block.encode(), "board.json", ROOT)
    assert config.pop("wifi") and config.pop("http")["ca"]
    for line in re.findall(r"^ +(ivota (?:keygen|channel|release) .*)$", text, re.M):
        run(shlex.split(line), tmp_path, IVOTA_PASSPHRASE="x")
    with python_server(tmp_path / "site") as port:
        config["channel"] = {"url": f"http://127.0.0.1:{port}/channel.json"}
        files = {"/owner.pub": tmp_path / "owner.pub"}
        with Board(tmp_path / "board", config=config, files=files, turns=True) as board:
            board.install()
            board.power_on()
            board.wait_log("confirmed version=0.2", 120)
            events = re.findall(r"^       (\w+)  +\w+=", text, re.M)
            seen = [line.split()[1] for line in board.log if line.startswith("ivota: ")]
    wanted = iter(seen)
    assert all(event in wanted for event in events if event != "network_up"), seen


@pytest.mark.slow
def test_the_workflow_of_ci(tmp_path: Path) -> None:
    """Its steps with the key in a variable: neither what they print nor the board has it."""
    run(["ivota", "keygen", "owner.key"], tmp_path, IVOTA_PASSPHRASE="a pass phrase")
    secrets = {
        "IVOTA_KEY": (tmp_path / "owner.key").read_text(),
        "IVOTA_PASSPHRASE": "a pass phrase",
    }
    (tmp_path / "owner.key").unlink()
    run(["ivota", "channel", "init", "pages", "--product", "HOME"], tmp_path, **secrets)
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text("def main():\n    pass\n")
    steps = re.findall(r"^          (ivota .*)$", chapter(CHANNEL, "From CI"), re.M)
    assert [step.split()[1] for step in steps] == ["release", "channel", "channel", "channel"]
    for version in ("0.2", "0.3"):
        before = (tmp_path / "pages" / "channel.json").read_bytes()
        for step in steps:
            said = run(shlex.split(step.replace("$GITHUB_REF_NAME", version)), tmp_path, **secrets)
            assert "PRIVATE KEY" not in said and "pass phrase" not in said
            assert not any(line in said for line in secrets["IVOTA_KEY"].splitlines() if line)
            if "rehearse" in step:
                assert f"updates to {version} and confirms it" in said
                assert (tmp_path / "pages" / "channel.json").read_bytes() == before
        (tmp_path / "app.bin").unlink()
    found = json.loads(run(["ivota", "channel", "status", "pages", "--json"], tmp_path))
    offered = [(each["version"], each["share"]) for each in found["tracks"]["stable"]]
    assert offered == [("0.2", 10), ("0.3", 10)]


@pytest.mark.slow
def test_a_rehearsal_that_fails(tmp_path: Path) -> None:
    """It says why, changes nothing, and the application has not seen the key."""
    run(["ivota", "keygen", "owner.key", "--no-passphrase"], tmp_path)
    key = (tmp_path / "owner.key").read_text()
    secrets = {"IVOTA_KEY": key, "IVOTA_PASSPHRASE": "a pass phrase"}
    run(["ivota", "channel", "init", "site", "--product", "HOME"], tmp_path, **secrets)
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text(SAYS_KEY)
    words = ["ivota", "channel", "rehearse", "site", "app", "--version", "0.2"]
    with pytest.raises(AssertionError) as caught:
        run(words, tmp_path, **secrets)
    assert "on purpose" in str(caught.value) and "the key is None None" in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)
    assert not list((tmp_path / "site").glob("*.bin"))


def shown(text: str) -> list[list[str]]:
    """The commands of a chapter, as words."""
    return [shlex.split(line) for line in re.findall(r"^ {4,}(ivota .*)$", text, re.M)]


@contextlib.contextmanager
def started(words: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """`ivota cloud` as it is shown, on free ports; yields what its other commands need."""
    process = subprocess.Popen(
        [str(BIN / words[0]), *words[1:], "--json", "--port", "0", "--mqtt-port", "0"]
        + ["--data", "data"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(WAIT_S)


def an_app(folder: Path) -> Path:
    app = folder / "app"
    app.mkdir()
    (app / "app.py").write_text(
        "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
    )
    return app


@pytest.mark.slow
def test_a_cloud_that_serves_the_channel(tmp_path: Path) -> None:
    """First as a mirror, then filled by itself; a board follows it."""
    text = chapter(CHANNEL, "Served by the cloud")
    (block,) = re.findall(r"```json\n(.*?)```", text, re.S)
    config = json.loads(block)
    mirror, upload, status, keygen, fill, *offers = shown(text)
    assert mirror[1] == fill[1] == "cloud" and len(offers) == 4
    an_app(tmp_path)
    run(["ivota", "keygen", "owner.key", "--no-passphrase"], tmp_path)
    key = ["--key", "owner.key"]
    run(["ivota", "channel", "init", "site", "--product", "HOME", *key], tmp_path)
    run(["ivota", "release", "app", "--version", "0.2"], tmp_path)
    run(["ivota", "channel", "publish", "site", "app-0.2.bin", *key], tmp_path)
    with started(mirror, tmp_path) as cloud:
        where = {"IVOTA_URL": cloud["api_url"]}
        run(upload, tmp_path, **where)
        assert "0.2" in run(status, tmp_path, **where)
    run(keygen, tmp_path)
    with started(fill, tmp_path) as cloud:
        where = {"IVOTA_URL": cloud["api_url"]}
        config["channel"]["url"] = f"{cloud['api_url']}/channel/HOME/channel.json"
        config["channel"]["interval_s"] = 10
        assert config.pop("http")["ca"]
        config |= {"product_id": "HOME", "device_name": "d", "version": "0.1"}
        files = {f"/{name}.pub": tmp_path / f"{name}.pub" for name in ("owner", "index")}
        with Board(tmp_path / "board", config=config, files=files, turns=True) as board:
            board.install()
            board.power_on()
            board.wait_log("confirmed version=0.2", 120)
            for words in offers[:-1]:
                run(words, tmp_path, **where)
            board.wait_log("confirmed version=0.3", 120)
        run(offers[-1], tmp_path, **where)
        with Client(cloud["api_url"]) as client:
            assert client.channel("HOME")["tracks"] == {"stable": []}


@pytest.mark.slow
def test_a_board_moves_to_a_channel_and_back(tmp_path: Path) -> None:
    """As a fleet does: by releases and commands, and nobody touches it."""
    text = chapter(CHANNEL, "Between a cloud and a channel")
    there, back = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", text, re.S))
    release, push, *on_channel, again, publish = shown(text)
    app = an_app(tmp_path)
    run(["ivota", "keygen", "owner.key", "--no-passphrase"], tmp_path)
    key = ["--key", "owner.key"]
    run(["ivota", "channel", "init", "site", "--product", "HOME", *key], tmp_path)
    (app / "owner.pub").write_bytes((tmp_path / "owner.pub").read_bytes())
    cloud_words = ["ivota", "cloud", "--channel", "HOME=owner.pub"]
    upload = ["ivota", "channel", "cloud", "upload", "site"]
    with started(cloud_words, tmp_path) as cloud, Client(cloud["api_url"]) as client:
        where = {"IVOTA_URL": cloud["api_url"]}
        run(upload, tmp_path, **where)
        config = settings("kitchen", int(cloud["mqtt_port"]), product_id="HOME")
        with Board(tmp_path / "board", config=config, turns=True) as board:
            board.install()
            board.power_on()
            wait_until(lambda: client.devices(), "the board to report")
            (device,) = client.devices()
            there["channel"] |= {
                "url": f"{cloud['api_url']}/channel/HOME/channel.json",
                "interval_s": 10,
            }
            (app / "config.json").write_text(json.dumps(there))
            run(release, tmp_path, **where)
            run(push, tmp_path, **where)
            board.wait_log("confirmed version=0.3", 120)
            for words in (*on_channel, upload):
                run(words, tmp_path, **where)
            board.wait_log("confirmed version=0.4", 120)
            (app / "config.json").write_text(json.dumps(back))
            for words in (again, publish, upload):
                run(words, tmp_path, **where)
            board.wait_log("confirmed version=0.5", 120)
            wait_until(lambda: client.device("HOME/kitchen")["version"] == "0.5", "its report")
        # It is the same device, and the cloud does not send it away again.
        (found,) = client.devices()
        assert (found["id"], found["state"]) == (device["id"], "skipped")
