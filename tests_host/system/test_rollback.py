"""A new version that is no good: the old one is back, and the cloud is told why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from badserver import BadServer
from wire import Wire

from ivota_tools.firmware import bundle
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

APPLICATIONS = {
    "raises when imported": ('raise ValueError("broken on purpose")\n\n\ndef main():\n    pass\n'),
    "raises when started": 'async def main():\n    raise ValueError("broken on purpose")\n',
    "resets the board": "import machine\n\n\ndef main():\n    machine.reset()\n",
}


def release(tmp_path: Path, version: str, app: str) -> bytes:
    folder = tmp_path / f"application-{version}"
    folder.mkdir()
    (folder / "app.py").write_text(app)
    out = tmp_path / f"{version}.bin"
    pack(folder, version, out=out)
    return out.read_bytes()


def push(wire: Wire, server: BadServer, version: str, data: bytes) -> None:
    server.add(f"/{version}.bin", data)
    wire.push(version, server.url(f"/{version}.bin"), data)


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("what", APPLICATIONS)
def test_a_broken_version_goes_back_to_the_one_before(
    what: str, tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    idle = (
        "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
    )
    # The client of a version whose application resets at once has no time to reach the cloud.
    good = release(tmp_path, "0.2", idle)
    bad = release(tmp_path, "0.3", APPLICATIONS[what])
    board = agent()
    board.power_on()
    wire.wait_version("0.1")
    push(wire, server, "0.2", good)
    wire.wait_state("done")
    board.wait_log("confirmed version=0.2")
    push(wire, server, "0.3", bad)
    failure = wire.wait_state("fail").json["report"]
    assert failure["version"] == "0.3"
    assert failure["progress"]["result_code"] == "-5"
    died = "raises" in what
    why = "crashed in its trial, ValueError broken on purpose in app.py:"
    why = why if died else "restarted too often in its trial"
    assert failure["progress"]["result_msg"].startswith(why)
    starts = len([line for line in board.log if "running trial=True version=0.3" in line])
    assert starts == (3 if died else 10)
    board.wait_log("running trial=False version=0.2")

    # The same bytes are refused from now on without being fetched; another version is welcome. A
    # reset may have been somebody else's, so without a recorded death nothing is refused.
    if died:
        asked = len(server.asked("/0.3.bin"))
        said = len(wire.messages)
        push(wire, server, "0.3", bad)
        failure = wire.wait_state("fail", after=said).json["report"]["progress"]
        assert failure["result_code"] == "-5"
        assert len(server.asked("/0.3.bin")) == asked
    assert died == ("rejected" in json.loads(board.read("/ivota-state.json")))
    push(wire, server, "0.4", release(tmp_path, "0.4", idle))
    wire.wait(lambda m: m.state == "done" and m.json["report"]["version"] == "0.4", "0.4 done")
    board.wait_log("confirmed version=0.4")
    board.stop()
    state = json.loads(board.read("/ivota-state.json"))
    assert state["active"] == "/firmware/0.4.bin"
    assert sorted(board.listdir("/firmware")) == ["0.2.bin", "0.4.bin"]


@pytest.mark.matrix
@pytest.mark.slow
def test_a_version_that_never_reaches_the_cloud_goes_back_in_time(
    tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    folder = tmp_path / "application-0.2"
    folder.mkdir()
    (folder / "config.json").write_text('{"mqtt": {"port": 1}}')
    board = agent(trial={"limit_s": 2})
    board.power_on()
    wire.wait_version("0.1")
    (folder / "app.py").write_text("async def main():\n    pass\n")
    out = tmp_path / "0.2.bin"
    pack(folder, "0.2", out=out)
    push(wire, server, "0.2", out.read_bytes())
    failure = wire.wait_state("fail").json["report"]["progress"]
    assert failure["result_code"] == "-5"
    why = "the trial was not confirmed in time: cannot reach the broker"
    assert failure["result_msg"] == why
    board.wait_log("running trial=False version=0.1")
    board.stop()
    assert "rejected" not in json.loads(board.read("/ivota-state.json"))


@pytest.mark.slow
def test_a_version_that_the_cloud_does_not_hear_goes_back(
    tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    """Its bundle names another topic: the broker takes the reports, the cloud gets none."""
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "app.py").write_text("async def main():\n    pass\n")
    (folder / "config.json").write_text('{"topics": {"report": "elsewhere"}}')
    out = tmp_path / "0.2.bin"
    pack(folder, "0.2", out=out)
    data = out.read_bytes()
    board = agent(trial={"limit_s": 3})
    board.power_on()
    wire.wait_version("0.1")
    wire.answer("0.1")
    wire.wait_taken(board)
    for _ in (1, 2):  # the second time nothing is downloaded
        said = len(wire.messages)
        push(wire, server, "0.2", data)
        failure = wire.wait_state("fail", after=said).json["report"]["progress"]
        assert failure["result_msg"].endswith("the cloud did not answer")
        assert len(server.asked("/0.2.bin")) == 1
    # What went wrong was the network or the cloud, for all that the board knows.
    board.stop()
    state = json.loads(board.read("/ivota-state.json"))
    assert "rejected" not in state and state["answered"]


def test_a_version_that_the_cloud_answers_stays(
    tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    board = agent()
    board.power_on()
    wire.wait_version("0.1")
    wire.answer("0.1")
    wire.wait_taken(board)
    push(wire, server, "0.2", release(tmp_path, "0.2", "async def main():\n    pass\n"))
    wire.wait_version("0.2")
    wire.wait_taken(board)
    assert not [line for line in board.log if "confirmed" in line]
    wire.answer("0.2")
    wire.wait_state("done")


@pytest.mark.matrix
def test_the_application_confirms_its_own_trial(
    tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    confirming = (
        "import asyncio\nfrom ivota import agent\n\n\nasync def main():\n"
        "    await asyncio.sleep(1)\n    print('app: confirms')\n    agent.client.confirm()\n"
        "    while True:\n        await asyncio.sleep(1)\n"
    )
    board = agent(trial={"confirm": "application"})
    board.power_on()
    wire.wait_version("0.1")
    push(wire, server, "0.2", release(tmp_path, "0.2", confirming))
    wire.wait_state("done")
    board.wait_log("confirmed version=0.2")
    lines = [line for line in board.log if line.startswith(("app: confirms", "ivota: confirmed"))]
    assert lines == ["app: confirms", "ivota: confirmed version=0.2"]


def test_a_bundle_that_says_who_the_board_is_never_starts(
    agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    files = {"app.py": b"def main():\n    pass\n", "config.json": b'{"device_name": "another"}'}
    # The network of the board's own comes up at the third time that it is asked for.
    own = b"asked = []\ndef online():\n    asked.append(1)\n    return len(asked) > 2\n"
    board = agent(files={"/own_network.py": own}, network="own")
    board.power_on()
    wire.wait_version("0.1")
    assert any("network_up by=own_network" in line for line in board.log)
    push(wire, server, "0.2", bundle.build(files, "a", "0.2"))
    failure = wire.wait_state("fail").json["report"]["progress"]
    assert failure["result_code"] == "-5"
    assert failure["result_msg"] == "the bundle's config.json must not set device_name"
    board.stop()
    assert json.loads(board.read("/ivota-state.json")).get("active") is None
