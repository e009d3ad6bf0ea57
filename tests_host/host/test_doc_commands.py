"""The commands that the documents show are run as they stand, but for addresses and folders.

README.md has its own in tests_host/system/test_readme.py; `make demo` and the measurements are
run by their own tests; what needs systemd, an ESP32's boot loader or a second machine is not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from found import some
from rawrepl import RawReplBoard
from waiting import WAIT_S

from ivota_tools import toolchain
from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.sim import Board

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def chapter(page: str, title: str) -> str:
    text = (ROOT / "docs" / page).read_text()
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, title
    return found[1]


def commands(text: str) -> list[list[str]]:
    """The lines of code that begin with a command of ours or mpremote's, as words."""
    lines = re.sub(r" \\\n +", " ", text)
    shown = re.findall(r"^(?: {4}|\$ )((?:ivota|mpremote) .+)$", lines, re.M)
    return [shlex.split(line, comments=True) for line in shown]


def run(words: list[str], folder: Path, **environment: str) -> str:
    """Runs a command of this environment; what it printed."""
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        input="y\n",
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def device(port: int, name: str, **more: object) -> dict[str, object]:
    talk = {"host": "127.0.0.1", "port": port}
    product, _, name = name.partition("/")
    return {"product_id": product, "device_name": name, "version": "0.1", "mqtt": talk, **more}


@pytest.mark.slow
def test_one_laptop_then_many_devices(tmp_path: Path) -> None:
    """docs/operate.md: a first update, then a campaign, which ends as it says."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    first = commands(chapter("operate.md", "Start on a laptop"))
    many = commands(chapter("operate.md", "Roll out to many devices"))
    assert [words[1] for words in first] == ["cloud", "release", "push", "devices"]
    assert [words[1:3] for words in many][2:] == [["campaign", "create"], ["campaign", "watch"]]
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Board(tmp_path / "b", config=device(cloud.mqtt_port, "PRODUCT/kitchen")) as board,
    ):
        board.install()
        board.power_on()
        board.wait_log("connected")
        for words in first[1:]:
            run(words, tmp_path, IVOTA_URL=cloud.api_url)
        later = [*first[1]]
        later[later.index("0.2")] = "0.3"
        run(later, tmp_path, IVOTA_URL=cloud.api_url)
        create = many[2]
        create[create.index("2h")] = "1s"
        said = [run(words, tmp_path, IVOTA_URL=cloud.api_url) for words in many]
        assert "done" in said[-1]
        with Client(cloud.api_url) as api:
            assert api.device("PRODUCT/kitchen")["version"] == "0.3"


@pytest.mark.slow
def test_the_first_update(tmp_path: Path) -> None:
    """docs/guide.md: the commands, and what the board prints meanwhile."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = chapter("guide.md", "The first update")
    with (
        Cloud(tmp_path / "cloud") as cloud,
        Board(tmp_path / "b", config=device(cloud.mqtt_port, "HOME/esp32-1")) as board,
    ):
        board.install()
        board.power_on()
        board.wait_log("connected")
        start = len(board.log)
        for words in commands(text):
            said = run(words, tmp_path, IVOTA_URL=cloud.api_url)
        assert "done" in said
        board.wait_log("confirmed", start=start)
        printed = iter(re.sub(r"^ivota: ", "", line) for line in board.log[start:])
        for line in some(re.findall(r"^    ([a-z_]+(?: {2,}\w+=.*)?)$", text, re.M)):
            event, *fields = line.split()
            keys = [field.partition("=")[0] for field in fields]
            assert any(
                each.split()[0] == event and all(f" {key}=" in each for key in keys)
                for each in printed
            ), line


@pytest.mark.slow
def test_backup_and_restore(tmp_path: Path) -> None:
    shown = commands(chapter("operate.md", "Back up and restore"))
    assert [words[1] for words in shown] == ["backup", "restore"]
    here, there, kept = tmp_path / "cloud", tmp_path / "again", tmp_path / "backup"
    places = {"/backup": str(kept), "/var/lib/ivota": str(here)}
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("def main():\n    pass\n")
    with Cloud(here) as cloud:
        words = ["ivota", "release", "app", "--version", "1", "--upload"]
        run(words, tmp_path, IVOTA_URL=cloud.api_url)
        run([places.get(word, word) for word in shown[0]], tmp_path)
    places["/var/lib/ivota"] = str(there)
    run([places.get(word, word) for word in shown[1]], tmp_path)
    with Cloud(there) as cloud, Client(cloud.api_url) as api:
        assert [each["version"] for each in api.firmware()] == ["1"]


@pytest.mark.slow
def test_signing_in_five_commands(tmp_path: Path) -> None:
    """docs/security.md, with a board of real MicroPython at a pseudo-terminal."""
    shown = commands(chapter("security.md", "Signing, in five commands"))
    assert len(shown) == 5
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text("def main():\n    pass\n")
    talk = device(1, "P/d", keys=["/owner.pub"], target="thermometer")
    (tmp_path / "board.json").write_text(json.dumps(talk))
    umqtt = toolchain.umqtt() / "umqtt" / "simple.py"
    files = {"/lib/umqtt/simple.py": umqtt.read_bytes()}
    with (
        Cloud(tmp_path / "cloud") as cloud,
        RawReplBoard(tmp_path, files=files) as board,
    ):
        board.wait_printed(">>> ")
        for words in shown:
            if words[0] == "mpremote":
                words[1:1] = ["connect", board.port]
            elif words[1] == "board":
                words += ["--port", board.port]
            run(words, tmp_path, IVOTA_URL=cloud.api_url, IVOTA_PASSPHRASE="x")
        assert board.read("/owner.pub") == (tmp_path / "owner.pub").read_bytes()
        said = run(["ivota", "inspect", "app-0.2.bin"], tmp_path)
        assert "sequence 2" in said and "thermometer" in said


@pytest.mark.slow
def test_certificates(tmp_path: Path) -> None:
    """docs/guide.md: an authority of one's own, a cloud that it vouches for, a board."""
    text = chapter("guide.md", "Certificates").replace("192.168.1.10", "127.0.0.1")
    for line in re.findall(r"^    (openssl .+)$", text, re.M):
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    words, copy = commands(text)
    assert copy == ["mpremote", "fs", "cp", "ca.pem", ":/ca.pem"]
    talk, files = re.findall(r'`("(?:mqtt|http)": .+?})`', text)
    config = json.loads(f"{{{talk}, {files}}}")
    port = free_port()
    words[words.index("--host") + 1] = "127.0.0.1"
    words = [word.replace("8123", str(port)) for word in words]
    words += ["--port", str(port), "--mqtt-port", "0", "--data", "data", "--json"]
    process = subprocess.Popen(
        [str(BIN / words[0]), *words[1:]], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        config["mqtt"]["port"] = said["mqtt_port"]
        config.update(product_id="P", device_name="d", version="0.1")
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "app.py").write_text("async def main():\n    pass\n")
        ca = {"/ca.pem": (tmp_path / "ca.pem").read_bytes()}
        where = {"IVOTA_URL": f"https://127.0.0.1:{port}", "SSL_CERT_FILE": "ca.pem"}
        with Board(tmp_path / "b", config=config, files=ca) as board:
            board.install()
            board.power_on()
            board.wait_log("connected")
            run(["ivota", "release", "app", "--version", "0.2", "--upload"], tmp_path, **where)
            run(["ivota", "push", "0.2", "--device", "P/d", "--wait"], tmp_path, **where)
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_what_recovers_a_board(tmp_path: Path) -> None:
    """docs/guide.md: what a board runs, and the commands at its cable, in their order."""
    first = commands(chapter("guide.md", "MicroPython on the board"))
    install = commands(chapter("guide.md", "The board"))[:1]
    recovery = commands(chapter("guide.md", "Recovery over USB"))
    assert len(recovery) == 4
    (tmp_path / "board.json").write_text(json.dumps(device(1, "P/d")))
    umqtt = toolchain.umqtt() / "umqtt" / "simple.py"
    files = {"/lib/umqtt/simple.py": umqtt.read_bytes(), "/notes.txt": b"mine"}
    with RawReplBoard(tmp_path, files=files) as board:
        board.wait_printed(">>> ")
        first[0][1:1] = ["connect", board.port]
        assert "MicroPython" in run(first[0], tmp_path)
        for words in [*install, *recovery]:
            more = ["--yes"] if words[2] == "remove" else []
            run([*words, "--port", board.port, *more], tmp_path)
        assert "/ivota.json" in board.files() and "/notes.txt" in board.files()
        assert not [path for path in board.files() if path.startswith("/lib/ivota/")]
