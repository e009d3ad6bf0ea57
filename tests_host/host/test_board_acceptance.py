"""`ivota board test` on a real MicroPython, whose network is this computer's."""

import json
import queue
from pathlib import Path

import httpx
import pytest
from rawrepl import RawReplBoard
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools import toolchain
from ivota_tools.board.acceptance import aside
from ivota_tools.board.acceptance import console as console_module
from ivota_tools.board.acceptance.console import Console
from ivota_tools.board.acceptance.resets import Resets
from ivota_tools.board.acceptance.rig import Rig
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.cli.board import app
from ivota_tools.sim.esp32_image import make_image

CHECKOUT = Path(__file__).parents[2]
TITLE = "A simulated board"
NETWORK = b"def online():\n    return True\n"  # it is up already
OWN = {
    "/boot.py": b"# a boot.py of the owner's\n",
    "/main.py": b'print("the owner\'s program")\n',
    "/ivota.json": b'{"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}',
    "/ivota-state.json": b"{}",
    "/lib/ivota/codes.py": b"OLDER = True\n",
    "/firmware/0.3.bin": b"\xd2\xcd\x31 of the owner's",
    "/notes/today.txt": b"rain",
}


@pytest.fixture
def board(tmp_path):
    content = {"/lib/umqtt/simple.py": Path(toolchain.umqtt(), "umqtt/simple.py").read_bytes()}
    image = make_image("1.0", size=30_000)
    with RawReplBoard(tmp_path, files={**content, **OWN}, slots=32, running=image) as board:
        board.wait_printed(">>> ")
        yield board


def run(board, report, *arguments):
    """Runs the command; name of each step → what came of it."""
    given = ["test", "--port", board.port, "--address", "127.0.0.1", "--timeout", "120"]
    done = CliRunner().invoke(app, [*given, "--report", str(report), *map(str, arguments)])
    steps = json.loads(Path(f"{report}.json").read_text())["steps"]
    assert done.exit_code == 0, json.dumps(steps, indent=1)
    return {each["name"]: each for each in steps}


def files_of(board):
    return {path: board.read(path) for path in board.files()}


@pytest.mark.slow
def test_a_whole_run(board, tmp_path):
    before = files_of(board)
    own_network, config = tmp_path / "network.py", tmp_path / "config.json"
    own_network.write_bytes(NETWORK)
    config.write_text('{"network": "own"}')
    report = CHECKOUT / "build" / "boards" / "simulated"  # of which docs/boards has a copy
    # Whoever kills the process takes the power away, and the stand-in starts the next one.
    power = f"kill -9 $(cat {board.pid_file})"
    arguments = ["--config", config, "--put", f"{own_network}:/own_network.py"]
    steps = run(board, report, *arguments, "--power-command", power, "--title", TITLE)
    outcomes = {name: each["outcome"] for name, each in steps.items()}
    assert steps["wifi"]["seen"] == "this board has no Wi-Fi"
    assert [name for name in outcomes if outcomes[name] != "PASS"] == ["wifi"], steps
    assert files_of(board) == before
    assert board.flash.would_boot() == "ota_0"
    # It came to the same when the report in docs/boards was written.
    kept = json.loads((CHECKOUT / "docs" / "boards" / "simulated.json").read_text())
    assert {each["name"]: each["outcome"] for each in kept["steps"]} == outcomes


@pytest.mark.slow
def test_an_image_is_confirmed_and_the_slot_before_runs_again(board, tmp_path):
    before = files_of(board)
    image = tmp_path / "image.bin"
    image.write_bytes(make_image("2.0", size=40_000))
    arguments = ["--only", "image", "--only", "reset", "--image", image, "--image-version", "2.0"]
    steps = run(board, tmp_path / "report", "--json", *arguments)
    # Nobody is asked, and a pseudo-terminal has no lines that reset a board.
    assert steps["reset"]["outcome"] == "SKIP"
    assert "this computer cannot reset the board" in steps["reset"]["seen"]
    assert steps["image"]["seen"] == "2.0 ran from ota_1 and was confirmed; ota_0 runs again"
    assert files_of(board) == before
    assert board.flash.would_boot() == "ota_0"


def test_a_console_reads_on_after_another_program_had_the_port(monkeypatch):
    arriving = queue.Queue()

    def chunks(_port, wait_s):
        while True:
            try:
                yield arriving.get(timeout=0.05)
            except queue.Empty:
                yield b""

    monkeypatch.setattr(console_module, "chunks", chunks)
    console = Console("/dev/null")
    console.start()
    try:
        with console.released():
            arriving.put(b"the other program's\n")
            assert arriving.get() and console.tail() == ""
        arriving.put(b"ours\r\n")
        wait_until(lambda: console.tail() == "ours", "a line")
    finally:
        console.stop()


def test_nobody_on_the_boards_network_gives_the_cloud_orders(tmp_path):
    remote, console = Mpremote("/dev/null"), Console("/dev/null")
    resets = Resets(remote, console, None, None)
    with Rig(tmp_path, remote, console, resets, "127.0.0.1", 5) as rig:
        assert rig.api.devices() == []
        for path in ("devices", "firmware"):
            answer = httpx.get(f"{rig.cloud.public_url}/api/v1/{path}", timeout=WAIT_S)
            assert answer.status_code == 401, answer.text


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_put_back(board):
    before = files_of(board)
    remote = Mpremote(board.port)

    def restore():
        answer = CliRunner().invoke(app, ["test", "--port", board.port, "--restore", "--json"])
        assert json.loads(answer.stdout) == {"restored": True}
        assert files_of(board) == before

    aside.Aside(remote, ["/own_network.py"]).begin()
    # What the run would have written; then the computer fails.
    written = ["/main.py", "/ivota-state.json", "/own_network.py", "/ivota-test.pub"]
    code = f"import os\nos.mkdir('/lib/ivota')\nfor path in {[*written, '/lib/ivota/x.py']}:\n"
    remote.run("exec", code + "    open(path, 'w').close()")
    restore()
    # Cut off before everything was aside: what is still in its place stays there.
    code = "import os\nos.mkdir('/ivota-before')\nos.rename('/boot.py', '/ivota-before/!boot.py')"
    remote.run("exec", code)
    restore()
