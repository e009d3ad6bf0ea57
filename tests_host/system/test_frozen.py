"""A board with ivota in its firmware and none on flash; its bundles contain applications alone.

What manifest.py freezes lies in a ROMFS image here, imported in place, at the spot in `sys.path`
where a firmware has `.frozen`: no interpreter of ours can be built with frozen modules.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import manifests
import pytest
from badserver import BadServer
from board_support import settings
from wire import Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common import project_files
from ivota_tools.firmware import romfs
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board
from ivota_tools.toolchain import umqtt

ROOT = Path(__file__).parents[2]
IDLE = """
import asyncio
import sys

async def main():
    print("updater from", sys.modules["ivota"].__file__)
    while True:
        await asyncio.sleep(1)
"""
# Stands for the firmware itself; it is the only file on flash that must be whole.
BOOT = b"""
import sys, vfs
with open("/rom.img", "rb") as file:
    vfs.mount(vfs.VfsRom(file.read()), "/rom")
sys.path.insert(1, "/rom")
del file
execfile("/rom/boot.py")
"""


def firmware() -> bytes:
    """What is frozen, as an image; boot.py and main.py as their sources."""
    simple = Path(umqtt(), "umqtt", "simple.py").read_bytes()
    folder = {"umqtt/simple.mpy": compile_mpy(simple, "umqtt/simple.py")}
    frozen = manifests.evaluate(ROOT / "manifest.py", boot_files=True)
    for name, (path, _) in frozen.files.items():
        data = path.read_bytes()
        if name in ("boot.py", "main.py"):
            assert b'".frozen"' in data
            folder[name] = data.replace(b'".frozen"', b'"/rom"')
        else:
            folder[name.removesuffix(".py") + ".mpy"] = compile_mpy(data, name)
    return romfs.build(folder)


def application(tmp_path: Path, version: str, source: str, least: str | None = None) -> bytes:
    folder = tmp_path / f"application-{version}"
    folder.mkdir()
    (folder / "app.py").write_text(source)
    out = tmp_path / f"{version}.bin"
    pack(folder, version, out=out, updater_min=least or project_files.version())
    return out.read_bytes()


@pytest.mark.matrix
def test_updates_of_the_application_alone(
    broker: Broker,
    name: str,
    tmp_path: Path,
    boards: list[Board],
    wire: Wire,
    server: BadServer,
) -> None:
    files = {
        "/boot.py": BOOT,
        "/main.py": b'execfile("/rom/main.py")\n',
        "/rom.img": firmware(),
        # Left over from a time before, and damaged: nothing on flash is looked at.
        "/bundlefs.py": b"raise SystemExit\n",
        "/bundlefs.mpy": b"M\x06\x00\x1f",
        "/lib/bundlefs.mpy": b"M\x06\x00\x1f",
        "/lib/ivota/__init__.py": b"raise SystemExit\n",
    }
    board = Board(
        tmp_path / "board",
        factory=False,
        config=settings(name, broker.port),
        files=files,
        turns=True,
    )
    boards.append(board)
    board.install()
    board.power_on()
    wire.wait_version("0.1")

    def push(version: str, data: bytes) -> None:
        server.add(f"/{version}.bin", data)
        wire.push(version, server.url(f"/{version}.bin"), data)

    # One that this board's updater can't start says so, and may come again.
    push("0.5", application(tmp_path, "0.5", IDLE, least="99.1"))
    said = wire.wait_state("fail").json["report"]["progress"]["result_msg"]
    assert said.startswith("the bundle can't be used: it needs ivota 99.1, but this board has")

    data = application(tmp_path, "0.2", IDLE)
    assert len(data) < 1024
    push("0.2", data)
    wire.wait_state("done")
    board.wait_log("updater from /rom/ivota/__init__.mpy")
    board.wait_log("confirmed version=0.2")

    broken = application(tmp_path, "0.3", IDLE + 'raise ValueError("broken on purpose")\n')
    push("0.3", broken)
    wire.wait(lambda m: m.state == "fail" and m.json["report"]["version"] == "0.3", "0.3 failed")
    board.wait_log("running trial=False version=0.2")
    board.stop()
    state = json.loads(board.read("/ivota-state.json"))
    assert state["active"] == "/firmware/0.2.bin"
    assert [entry[0] for entry in state["rejected"]] == [hashlib.md5(broken).hexdigest()]
