"""`make demo`: what it prints and writes, when it fails, and that it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import interpreters
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from waiting import WAIT_S, wait_until

from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.demo import command, delta_scene, rollback_scene, update_scene
from ivota_tools.demo.stage import NAME, PRODUCT, Stage, State
from ivota_tools.sim.flash import Flash
from ivota_workshop.recordings import demo_page

COMMAND = [sys.executable, "-m", "ivota_tools.demo", "--build"]

GOOD = update_scene.Outcome(
    version_before="0.1",
    version_after="0.2",
    cloud_state="done",
    md5="d41d8cd98f00b204e9800998ecf8427e",
    md5_on_flash="d41d8cd98f00b204e9800998ecf8427e",
    link_cuts=3,
    power_cuts=1,
    firmware_bytes=708_482,
    received_bytes=716_000,
    resumes=4,
    signed=1,
    seconds=20.0,
    states=[State("downloading", 0.1), State("done", 20.0)],
)

GOOD_ROLL_BACK = rollback_scene.Outcome(
    version_before="0.2",
    version_pushed="0.3",
    version_after="0.2",
    cloud_state="retry",
    result_code="-5",
    result_msg="crashed in its trial, KeyError every_s",
    md5="d41d8cd98f00b204e9800998ecf8427e",
    md5_on_flash="d41d8cd98f00b204e9800998ecf8427e",
    starts=3,
    resets=4,
    crashes=["KeyError every_s"] * 3,
    seconds=2.0,
    states=[State("downloading", 0.1), State("fail", 2.0, "-5 crashed")],
)

GOOD_DELTA = delta_scene.Outcome(
    version_before="0.2",
    version_after="0.4",
    cloud_state="done",
    md5="d41d8cd98f00b204e9800998ecf8427e",
    md5_on_flash="d41d8cd98f00b204e9800998ecf8427e",
    firmware_bytes=708_482,
    delta_bytes=1_400,
    received_bytes=1_800,
    made=True,
    seconds=3.0,
    states=[State("downloading", 0.1), State("done", 3.0)],
)


_ASKED = """
import json, sys
number, level = sys.implementation.version[:3], sys.implementation.version[3]
version = ".".join(str(each) for each in number) + (level and "-" + level)
print(json.dumps({"version": version, "bits": 64 if sys.maxsize > 1 << 32 else 32}))
"""


def running(build: Path) -> list[str]:
    """The command lines of processes that work in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if os.fsencode(build) in words:
                found.append(words.replace(b"\0", b" ").decode())
    return found


def shape(printed: str) -> list[str]:
    """The tables' lines without figures, digests, and the widths that come of them."""
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    lines = [re.sub(r"\b[0-9a-f]{32}\b", "MD5", line) for line in lines]
    lines = [re.sub(r"\d[\d,.]*", "N", line) for line in lines]
    return [re.sub(r" +", " ", line) for line in lines]


@pytest.mark.matrix
@pytest.mark.slow
def test_whole_update_without_a_terminal(tmp_path: Path, interpreter: int | str) -> None:
    done = subprocess.run([*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    assert running(tmp_path) == []

    shown = json.loads((tmp_path / "demo.json").read_text())
    # Asked of the interpreter itself, not of the demo.
    asked = [*interpreters.command(interpreter), "-c", _ASKED]
    ran = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)
    assert shown["micropython"] == ran
    assert f"board (MicroPython {ran['version']}, {ran['bits']} bits)\n" in done.stdout
    assert ran["version"].endswith("-preview") == (interpreter == interpreters.PREVIEW)
    assert shown["version_before"] == "0.1"
    assert shown["version_after"] == "0.2"
    assert shown["md5_ok"] is True
    assert shown["link_cuts"] == 3
    assert shown["power_cuts"] == 1
    assert shown["firmware_bytes"] == 708_482
    assert 708_482 < shown["received_bytes"] < 708_482 * 1.1
    assert shown["states"] == ["downloading", "burning", "done"]
    assert shown["resumes"] == 4
    assert shown["signed"] == 1

    back, small = shown["scenes"]
    assert back["name"] == "roll_back"
    assert back["version_before"] == back["version_after"] == "0.2"
    assert back["version_pushed"] == "0.3"
    assert back["states"] == ["downloading", "burning", "fail"]
    assert back["result_code"] == "-5"
    assert re.fullmatch(
        r"crashed in its trial, KeyError every_s in \w+\.py:\d+", back["result_msg"]
    )
    assert (back["starts"], back["resets"]) == (3, 4)
    assert back["crashes"] == ["KeyError every_s"] * 3
    assert back["md5_ok"] is True
    assert back["md5"] == shown["md5"]

    assert small["name"] == "delta"
    assert (small["version_before"], small["version_after"]) == ("0.2", "0.4")
    assert small["states"] == ["downloading", "burning", "done"]
    assert small["firmware_bytes"] == 708_482 and small["md5_ok"] is True
    assert small["delta_bytes"] < small["received_bytes"] < 20_000
    assert small["saved_bytes"] == 708_482 - small["received_bytes"]

    events = [line for line in done.stdout.splitlines() if " cut (" in line]
    kinds = [re.findall(r"\((\w+)\)", line)[0] for line in events]
    assert kinds == ["FIN", "RST", "SIGKILL", "SILENCE"]
    for figure in ("firmware_bytes", "received_bytes"):
        assert f"{shown[figure]:,} bytes" in done.stdout
    # What is claimed of the flash can be checked by whoever doubts it.
    image = Flash(tmp_path / "demo" / "board" / "flash.img").tree()
    for version, name in (("0.2", "0.2.bin"), ("0.4", "0.4.new")):
        made = (tmp_path / "demo" / f"thermometer-{version}.bin").read_bytes()
        assert image[f"/firmware/{name}"] == made
    assert [name for name in image if name.endswith(("0.4.bin", "0.2.json"))] == []
    state = json.loads(image["/ivota-state.json"])
    assert state["active"] == "/firmware/0.4.new"
    assert "trial" not in state

    assert shape(done.stdout) == shape(demo_page.read())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "demo.json").write_text("of an earlier run")
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if "link cut" in line:
            break
    assert len(running(tmp_path)) >= 3  # itself, the broker, the board
    process.send_signal(number)
    rest, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert rest.endswith("interrupted; all processes have stopped\n")
    assert errors == ""
    assert running(tmp_path) == []
    assert not (tmp_path / "demo.json").exists()


def test_all_three_conditions_count() -> None:
    assert GOOD.failures == []
    for change in (
        {"version_after": "0.1"},
        {"cloud_state": "burning"},
        {"md5_on_flash": "00000000000000000000000000000000"},
        {"md5_on_flash": None},
        {"link_cuts": 2},
        {"power_cuts": 0},
        {"signed": None},
    ):
        assert len(dataclasses.replace(GOOD, **change).failures) == 1, change
    assert GOOD.json()["md5_ok"] is True
    assert dataclasses.replace(GOOD, md5_on_flash=None).json()["md5_ok"] is False


def test_everything_of_the_roll_back_counts() -> None:
    assert GOOD_ROLL_BACK.failures == []
    for change in (
        {"version_after": "0.3"},
        {"result_code": None, "result_msg": None},
        {"result_code": "-4"},
        {"result_msg": ""},
        {"md5_on_flash": "00000000000000000000000000000000"},
        {"md5_on_flash": None},
        {"starts": 2},
        {"crashes": []},
        {"resets": 1},
    ):
        assert len(dataclasses.replace(GOOD_ROLL_BACK, **change).failures) == 1, change
    assert GOOD_ROLL_BACK.json()["md5_ok"] is True
    assert dataclasses.replace(GOOD_ROLL_BACK, md5_on_flash=None).json()["md5_ok"] is False


def test_everything_of_the_delta_counts() -> None:
    assert GOOD_DELTA.failures == []
    for change in (
        {"version_after": "0.2"},
        {"cloud_state": "retry"},
        {"md5_on_flash": "00000000000000000000000000000000"},
        {"md5_on_flash": None},
        {"made": False},
        {"received_bytes": 100_000},
    ):
        assert len(dataclasses.replace(GOOD_DELTA, **change).failures) == 1, change
    assert GOOD_DELTA.saved_bytes == GOOD_DELTA.json()["saved_bytes"] == 706_682
    assert dataclasses.replace(GOOD_DELTA, md5_on_flash=None).json()["md5_ok"] is False


def test_the_last_word_of_another_version_is_no_state_of_this_one(tmp_path: Path) -> None:
    board = mqtt.Client(CallbackAPIVersion.VERSION2)
    with Stage(tmp_path / "demo", update_scene.CONFIG) as stage:
        board.connect("127.0.0.1", stage.cloud.mqtt_port)
        board.loop_start()
        for version, state, code in (("0.2", "done", "0"), ("0.3", "fail", "-5")):
            progress = {"state": state, "result_code": code, "result_msg": "why"}
            report = {"version": version, "progress": progress}
            said = json.dumps({"type": "report_progress", "report": report})
            board.publish(f"$ota/report/{PRODUCT}/{NAME}", said, 1).wait_for_publish(WAIT_S)
        wait_until(lambda: stage.known() and stage.progress("0.3"), "a report of 0.3")
        end(board)
        (state,) = stage.states("0.3", 0)
        assert (state.name, state.why) == ("fail", "-5 why")


def test_kept_it_says_where_the_console_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until Ctrl-C: the link makes the first user, the board is on, commands are told the way."""
    seen: list[str] = []
    with command.Stage(tmp_path, update_scene.CONFIG, True) as stage:

        def look(_timeout_s: float) -> None:
            link = stage.cloud.set_up_url
            assert link and stage.board.on
            seen.append(httpx.get(link, timeout=WAIT_S).text)
            raise KeyboardInterrupt

        monkeypatch.setattr(stage.cloud, "wait", look)
        command._keep(Console(width=80), stage)
        printed = capsys.readouterr().out
        assert stage.cloud.set_up_url in printed
        assert f"IVOTA_URL={stage.cloud.api_url}" in printed
        assert "Create the first user" in seen[0]
        token = Path(printed.split("$(cat ")[1].split(")")[0])
        assert token.read_text().startswith("ivota_")
