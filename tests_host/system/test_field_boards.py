"""Boards that an earlier release set up, with the present package; and their bundles today."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from badserver import BadServer
from wire import Wire

from ivota_tools.firmware import bundle, romfs
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

RELEASES = sorted((Path(__file__).parents[1] / "contract").iterdir())
IDLE = "import asyncio\n\n\nasync def main():\n    while True:\n        await asyncio.sleep(1)\n"
each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)


def sealed(state: dict[str, object]) -> bytes:
    head = json.dumps(state)[:-1] + ", "
    return f'{head}"crc": "{zlib.crc32(head.encode()):08x}"}}'.encode()


@pytest.mark.matrix
@each_release
def test_boot_files_of_each_release_start_what_is_released_today(
    release: Path, tmp_path: Path, agent: Callable[..., Board], wire: Wire, server: BadServer
) -> None:
    later = {"of": ["another release"]}
    board = agent(
        files={
            # A .py comes before the .mpy of the same name.
            "/boot.py": release / "boot.py",
            "/main.py": release / "main.py",
            "/bundlefs.py": release / "bundlefs.py",
            "/lib/bundlefs.py": release / "bundlefs.py",
            "/ivota-state.json": sealed({"later": later}),
        }
    )

    def push(version: str, data: bytes) -> None:
        server.add(f"/{version}.bin", data)
        wire.push(version, server.url(f"/{version}.bin"), data)

    def made(version: str, source: str) -> bytes:
        folder = tmp_path / version
        folder.mkdir()
        (folder / "app.py").write_text(source)
        return pack(folder, version, out=tmp_path / f"{version}.bin").path.read_bytes()

    board.power_on()
    wire.wait_version("0.1")
    push("0.2", made("0.2", IDLE))
    wire.wait_state("done")
    board.wait_log("confirmed version=0.2")
    push("0.3", made("0.3", IDLE + 'raise ValueError("broken on purpose")\n'))
    failure = wire.wait_state("fail").json["report"]["progress"]
    why = "crashed in its trial, ValueError broken on purpose in app.py:"
    assert failure["result_msg"].startswith(why)
    board.wait_log("running trial=False version=0.2")

    # A format that these boot files do not know: told by its first block, and not for ever.
    said = len(wire.messages)
    facts = b'{"application": "a", "format": 99, "version": "0.4"}'
    foreign = romfs.build({bundle.FACTS: facts, "app.py": IDLE.encode()}) + bytes(300_000)
    push("0.4", foreign)
    failure = wire.wait_state("fail", after=said).json["report"]["progress"]
    assert "it has format 99, but this board's boot files support" in failure["result_msg"]
    board.stop()
    state = json.loads(board.read("/ivota-state.json"))
    assert state["later"] == later
    assert [entry[2:] for entry in state["rejected"]] == [[]] and len(state["rejected"]) == 1
    assert sorted(board.listdir("/firmware")) == ["0.2.bin"]


@pytest.mark.matrix
@each_release
def test_bundles_of_each_release_start_today(release: Path, agent: Callable[..., Board]) -> None:
    state = json.loads((release / "state.json").read_bytes())
    board = agent(
        files={
            "/ivota-state.json": release / "state.json",
            state["active"]: release / "bundle.bin",
        }
    )
    board.power_on()
    said = board.wait_log("contract: (.*)")
    path = "['/app', '/app/lib', '', '.frozen', '/lib']"
    text = f"/app/lib/ivota/agent.py {path} a bundle of {release.name}"
    assert said[1] == text
    board.stop()
    found = json.loads(board.read("/ivota-state.json"))
    # Each key survives; this start is counted, and the note of another start's watchdog is gone.
    changed = {"power_boots": state["power_boots"] + 1, "armed": 0, "crc": found["crc"]}
    assert found == {**state, **changed}
