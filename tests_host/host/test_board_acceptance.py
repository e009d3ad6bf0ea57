"""`ivota board test` on a real MicroPython, whose network is this computer's."""

import json
from pathlib import Path

import pytest
from rawrepl import RawReplBoard
from typer.testing import CliRunner

from ivota_tools import toolchain
from ivota_tools.cli.board import app

CHECKOUT = Path(__file__).parents[2]
TITLE = "A simulated board"
OWN = {
    "/boot.py": b"# a boot.py of the owner's\n",
    "/main.py": b'print("the owner\'s program")\n',
    "/ivota.json": b'{"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}',
    "/firmware/0.3.bin": b"\xd2\xcd\x31 of the owner's",
    "/notes/today.txt": b"rain",
}


@pytest.fixture
def board(tmp_path):
    content = {"/lib/umqtt/simple.py": Path(toolchain.umqtt(), "umqtt/simple.py").read_bytes()}
    with RawReplBoard(tmp_path, files={**content, **OWN}) as board:
        board.wait_printed(">>> ")
        yield board


@pytest.mark.slow
def test_a_whole_run(board):
    before = {path: board.read(path) for path in board.files()}
    report = CHECKOUT / "build" / "boards" / "simulated"  # docs/boards has a copy
    # A command that takes the power away, and gives it back: the stand-in starts again by itself.
    power = f"kill -9 $(cat {board.pid_file})"
    arguments = ["--address", "127.0.0.1", "--power-command", power, "--timeout", "120"]
    arguments += ["--report", str(report), "--title", TITLE]
    done = CliRunner().invoke(app, ["test", "--port", board.port, *arguments])
    found = json.loads(Path(f"{report}.json").read_text()) if done.exit_code < 2 else {}
    steps = {each["name"]: each for each in found.get("steps", ())}
    assert done.exit_code == 0, done.output + json.dumps(found, indent=1)
    skipped = {name for name, each in steps.items() if each["outcome"] == "SKIP"}
    assert skipped == {"erase", "image", "wifi"}  # what a board without slots and Wi-Fi lacks
    # docs/boards has a run of these steps, all of which came to the same.
    kept = json.loads((CHECKOUT / "docs" / "boards" / "simulated.json").read_text())
    assert [(each["name"], each["outcome"]) for each in kept["steps"]] == [
        (name, each["outcome"]) for name, each in steps.items()
    ]
    assert {path: board.read(path) for path in board.files()} == before
