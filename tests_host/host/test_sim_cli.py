"""`ivota sim board`, as a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from waiting import WAIT_S

from ivota_tools.sim import Board, Flash

COMMAND = (sys.executable, "-c", "from ivota_tools.cli.sim import app; app()", "board")


def _start(*options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _until(process: "subprocess.Popen[str]", wanted: str) -> list[str]:
    """Its lines up to the one with `wanted` in it."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if wanted in line:
            return lines
    assert process.stderr
    raise AssertionError(f"no {wanted!r}: {lines} {process.stderr.read()}")


def _ended(process: "subprocess.Popen[str]", number: int) -> str:
    process.send_signal(number)
    out, error = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, error
    return out


def _refused(options: Sequence[str]) -> str:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 1
    return done.stderr.strip()


def test_runs_a_board_and_keeps_its_flash(tmp_path: Path) -> None:
    # Port 9: nobody listens, so the board goes on trying.
    options = ["--broker", "127.0.0.1:9", "--folder", str(tmp_path), "--device", "d-{mac}"]
    process = _start(*options)
    said = _until(process, "ivota:")
    # What it is comes first, and nothing that only the simulator's makers can read.
    name = f"sim: DEMO/d-{Board(tmp_path).mac} is on; flash in {tmp_path}; "
    name += "press Ctrl-C to cut the power"
    assert said[0] == name and not any("heap" in line for line in said)
    assert _ended(process, signal.SIGINT).rstrip().endswith("sim: stopped")

    flash = Flash(tmp_path / "flash.img")
    assert json.loads(flash.read("/ivota.json")) == {
        "product_id": "DEMO",
        "device_name": "d-{mac}",
        "version": "0.1",
        "mqtt": {"host": "127.0.0.1", "port": 9},
    }
    flash.write({"/kept": b"kept"})

    process = _start(*options, "--version", "0.7", "--json")
    first = json.loads(_until(process, "ivota:")[0])
    assert first["line"] == name and first["time"] > 0
    _ended(process, signal.SIGTERM)
    assert flash.read("/kept") == b"kept"
    assert json.loads(flash.read("/ivota.json"))["version"] == "0.7"

    process = _start(*options, "--fresh", "--bits", "64", "--heap", "200k")
    _until(process, "ivota:")
    _ended(process, signal.SIGTERM)
    assert "kept" not in flash.listdir()


def test_files_are_put_onto_its_flash(tmp_path: Path) -> None:
    (tmp_path / "owner.pub").write_bytes(b"a key")
    (tmp_path / "main.py").write_text("print('my own', open('/owner.pub').read())")
    options = ["--folder", str(tmp_path), "--broker", "127.0.0.1:9"]
    options += ["--put", f"{tmp_path / 'owner.pub'}:/owner.pub"]
    process = _start(*options, "--put", f"{tmp_path / 'main.py'}:/main.py")
    _until(process, "my own a key")
    # Of a board that is on the flash is left alone.
    assert "this board is already on" in _refused(options)
    _ended(process, signal.SIGINT)

    (tmp_path / "owner.pub").write_bytes(b"another")
    process = _start(*options)
    _until(process, "my own another")
    _ended(process, signal.SIGINT)


def test_an_interpreter_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROPYTHON32", "/none")
    said = _refused(["--folder", str(tmp_path)])
    assert "/none does not run as MicroPython" in said and "Traceback" not in said


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path)]
    assert "--broker must be HOST:PORT, not 'here'" in _refused([*folder, "--broker", "here"])
    assert "--bits must be 32 or 64, not 16" in _refused([*folder, "--bits", "16"])
    assert "--heap must be a number of bytes" in _refused([*folder, "--heap", "lots"])
    wrong = tmp_path / "config.json"
    assert "cannot read the configuration" in _refused([*folder, "--config", str(wrong)])
    wrong.write_text("[]")
    assert "must be a JSON object" in _refused([*folder, "--config", str(wrong)])
    wrong.write_text('{"product_id": "P", "devicename": "d"}')
    assert "did you mean device_name?" in _refused([*folder, "--config", str(wrong)])
    wrong.write_text("{")
    assert "is not valid JSON" in _refused([*folder, "--config", str(wrong)])
    for each in "owner.pub", "owner.pub:owner.pub", ":/x", "owner.pub:/lib/":
        assert "--put must be FILE:/PATH" in _refused([*folder, "--put", each])
    assert "copies a file" in _refused([*folder, "--put", f"{tmp_path}/none:/none"])
    assert "choose another folder" in _refused(["--folder", f"{wrong}/x"])
    (tmp_path / "flash.img").write_bytes(b"\xff" * 4096 * 512)
    (tmp_path / "flash.state").write_bytes(bytes(3 * 4096))
    assert "no littlefs on flash.img" in _refused(folder)
