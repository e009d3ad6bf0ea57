"""docs/signing-keys.md, command by command, with simulated boards: a key that is replaced as
planned, one that is lost, and one that is stolen."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_support import settings
from found import some
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.sim import Board

PAGE = (Path(__file__).parents[2] / "docs" / "signing-keys.md").read_text()
IDLE = "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"


def chapter(title: str) -> str:
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[1]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each command as ("run", line), and each file that the text shows as (its path, content)."""
    at = 0
    for block in some(re.finditer(r"^( *)```(\w+)\n(.*?)^ *```", text, re.M | re.S)):
        indent, language, content = block.groups()
        content = re.sub(f"^{indent}", "", content, flags=re.M)
        if language == "console":
            for line in re.findall(r"^\$ (.*)$", content, re.M):
                yield "run", line
        else:
            named = re.findall(r"`((?:greenhouse/|board\.)[\w.]+)`", text[at : block.start()])
            assert named, content
            yield named[-1], content
        at = block.end()


class Owner:
    """Who does what the page says, in a folder with the application and the keys."""

    def __init__(self, folder: Path, cloud: Cloud, api: Client) -> None:
        self.folder, self.cloud, self.api = folder, cloud, api
        self.boards: dict[str, Board] = {}
        self.board_config: dict[str, Any] = {}
        self.asked: list[str] = []  # what the commands that list devices have said
        (folder / "greenhouse").mkdir(parents=True)
        (folder / "greenhouse" / "app.py").write_text(IDLE)
        for name, content in steps(chapter("Start with two keys")):
            if name == "run":
                self.run(content)
            else:
                self.board_config = json.loads(content)

    def run(self, line: str) -> str:
        words = shlex.split(line)
        if words[0] == "ivota":
            words[:1] = [sys.executable, "-m", "ivota_tools"]
        where = {"IVOTA_URL": self.cloud.api_url, "IVOTA_PASSPHRASE": "a passphrase"}
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, **where},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if " devices " in line:
            self.asked.append(done.stdout)
        return done.stdout

    def follow(self, title: str) -> Iterator[str]:
        """Do what the chapter says; stops after each roll-out, with its command."""
        for name, content in steps(chapter(title)):
            if name != "run":
                (self.folder / name).write_text(content)
                continue
            self.run(content)
            if "campaign create" in content:
                yield content

    def board(self, name: str, **changes: Any) -> Board:
        """Start a board with the keys that the page's board.json names."""
        config = settings(name, self.cloud.mqtt_port, product_id="HOME", **self.board_config)
        config.update(changes)
        files = {path: self.folder / path[1:] for path in config["keys"]}
        board = self.boards[name] = Board(self.folder / name, config=config, files=files)
        board.install()
        board.power_on()
        wait_until(lambda: self.version(name) == "0.1", f"{name} in the cloud")
        return board

    def version(self, name: str) -> str | None:
        devices = {each["device_name"]: each for each in self.api.devices()}
        found: str | None = devices[name]["version"] if name in devices else None
        return found

    def wait_version(self, name: str, version: str) -> None:
        self.boards[name].wait_log(f"confirmed version={version}", WAIT_S)
        wait_until(lambda: self.version(name) == version, f"{version} on {name}")

    def release(self, version: str, key: str, sequence: int) -> None:
        """What is not on the page, such as what a thief makes."""
        self.run(
            f"ivota release greenhouse --version {version} --key {key} --sequence {sequence} "
            "--target greenhouse --upload"
        )

    def refused(self, name: str, version: str) -> None:
        """Push it: the board says that it does not trust whoever signed it."""
        said = len(self.boards[name].log)
        self.api.push(f"HOME/{name}", version)
        self.boards[name].wait_log("signature: not signed by a trusted key", WAIT_S, said)
        wait_until(lambda: self.api.device(f"HOME/{name}")["state"] == "failed", "its failure")

    def accepted(self, name: str, version: str) -> None:
        self.run(f"ivota push {version} --device HOME/{name} --wait")
        self.wait_version(name, version)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with (
        Cloud(tmp_path / "cloud", back_off=BackOff(0.1, 0.2)) as cloud,
        Client(cloud.api_url) as api,
    ):
        made = Owner(tmp_path / "owner", cloud, api)
        try:
            yield made
        finally:
            for board in made.boards.values():
                board.stop()


@pytest.mark.slow
def test_a_key_is_replaced_as_planned(owner: Owner) -> None:
    owner.board("kitchen")
    owner.board("late").stop()
    rollouts = owner.follow("A planned key change")
    next(rollouts)
    owner.wait_version("kitchen", "0.3")
    next(rollouts)
    assert "HOME/late" in owner.asked[0] and "kitchen" not in owner.asked[0]
    owner.wait_version("kitchen", "0.4")
    assert list(rollouts) == []
    owner.release("0.5", "owner.key", 5)
    owner.refused("kitchen", "0.5")
    # Who was away can't skip the release that brings the key.
    owner.api.push("HOME/late", "0.4")
    owner.boards["late"].power_on()
    owner.boards["late"].wait_log("signature: not signed by a trusted key", WAIT_S)
    wait_until(lambda: owner.api.device("HOME/late")["state"] == "failed", "its failure")
    assert list(owner.follow("A board that missed the change")) == []
    owner.wait_version("late", "0.4")


@pytest.mark.slow
def test_a_lost_key(owner: Owner) -> None:
    owner.release("0.2", "owner.key", 2)
    (owner.folder / "owner.key").unlink()
    owner.board("kitchen")
    alone = owner.board("alone", keys=["/owner.pub"])
    owner.accepted("alone", "0.2")  # signed before the loss
    text = chapter("The key is lost")
    for name, content in steps(text):
        if name != "run":
            (owner.folder / name).write_text(content)
        elif not content.startswith("mpremote"):
            owner.run(content)
    owner.wait_version("kitchen", "0.3")
    alone.wait_log("signature: not signed by a trusted key", WAIT_S)
    copy, reset = re.findall(r"^\$ mpremote (.*)$", text, re.M)
    source, path = re.fullmatch(r"fs cp (\S+) :(\S+)", copy).groups()  # type: ignore[union-attr]
    alone.stop()
    alone.write(path, (owner.folder / source).read_bytes())
    assert reset == "reset"
    alone.power_on()
    owner.release("0.4", "next.key", 4)
    for name in ("kitchen", "alone"):
        owner.accepted(name, "0.4")


@pytest.mark.slow
def test_a_stolen_key(owner: Owner) -> None:
    """Also after the board has fallen back to its factory package, which mounts no bundle."""
    owner.run("ivota keygen next.key")
    owner.run("cp next.pub greenhouse/next.pub")
    app = owner.folder / "greenhouse" / "app.py"
    app.write_text("import key_change\n\nkey_change.replace()\n" + IDLE)
    board = owner.board("kitchen")
    list(owner.follow("The key is stolen"))
    owner.wait_version("kitchen", "0.3")
    assert "kitchen" not in owner.run("ivota devices --where '-version:0.3'")
    for version in ("6.6.6", "6.6.7"):
        owner.release(version, "owner.key", 4_000_000_000)
    owner.refused("kitchen", "6.6.6")
    board.stop()
    assert board.read("/owner.pub") == (owner.folder / "next.pub").read_bytes()
    assert "owner.new" not in board.listdir("/")
    for name in board.listdir("/firmware"):
        board.write(f"/firmware/{name}", b"damaged")
    board.power_on()
    wait_until(lambda: owner.version("kitchen") == "0.1", "the factory package")
    owner.refused("kitchen", "6.6.7")
    owner.release("0.4", "next.key", 4)
    owner.accepted("kitchen", "0.4")
