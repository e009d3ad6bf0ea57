"""What docs/guide.md and docs/channel.md say about channels is done as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from channel_sites import python_server

from ivota_tools.board.config import parse_config
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
def test_ten_minutes_with_a_web_space(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = chapter(GUIDE, "Ten minutes with a web space")
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
