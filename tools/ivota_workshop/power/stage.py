"""Prepare a scenario: a board's flash before the update."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlefs.lfs import LFSConfig

from ivota_tools.channel.index import Index, Release
from ivota_tools.firmware.bundle import build
from ivota_tools.firmware.mpy_compiler import compiled_folder
from ivota_tools.sim import Board, Flash
from ivota_tools.sim.board import DEVICE as SIM_DEVICE
from ivota_tools.sim.crc_json import kept
from ivota_tools.sim.esp32_image import make_image
from ivota_tools.sim.filesystem import BLOCK, Memory, mounted
from ivota_tools.toolchain import micropython

from . import keys
from .firmware import APP, TARGET, noise, offered, old, result
from .scenario import CONFIRMED, NEW, OLD, Scenario

DEVICE = Path(__file__).parent / "device"
_FREE = 16  # free blocks of a small flash, in addition to the firmware's own
_AMPLE = 1024
PRODUCT = "P"
_TIGHT = 6  # the same if a third bundle must be removed for the new one


@dataclass(frozen=True)
class Stage:
    """A scenario that is ready to run: the flash before it, and the offered firmware."""

    scenario: Scenario
    image: bytes
    blocks: int  # of the file system
    firmware: bytes
    result: bytes  # the pushed firmware itself, or the patch's result
    plan: dict[str, Any]


def config(scenario: Scenario) -> dict[str, Any]:
    signed = {"keys": ["/owner.pub"], "target": TARGET} if scenario.sequence else {}
    # The intervals are short, because no event ends these waits.
    link: dict[str, Any] = {"mqtt": {"host": "cloud"}, "report_interval_s": 20}
    if scenario.channel:
        link = {
            "channel": {
                "url": "http://cloud/channel.json",
                "report_url": "http://cloud/report",
                "interval_s": 20,
            }
        }
    return {
        "product_id": PRODUCT,
        "device_name": "board",
        **link,
        "retry": {"first_s": 0.5, "most_s": 4},
        "trial": {"limit_s": 3},
        **signed,
    }


def stage(scenario: Scenario, folder: Path, replaced: Mapping[str, bytes] | None = None) -> Stage:
    """Create a board's flash in `folder`. `replaced`: changed files of the factory."""
    made = result(scenario)
    new = offered(scenario, made)
    files: dict[str, bytes | Path] = dict(replaced or {})
    options: dict[str, Any] = {"mpy": True, "config": config(scenario), "files": files}
    if scenario.fat:
        options["config"]["firmware_dir"] = "/fat/firmware"
        files["/main.py"] = (DEVICE / "source" / "_power_fat_main.py").read_bytes()
    if scenario.slots:
        # If a bundle runs, the image under it reports nothing.
        source = "" if scenario.bundle else f'print("app: {OLD}")'
        options["image"] = make_image(OLD, source, size=scenario.size)
        options["slots"] = scenario.slots
    state: dict[str, Any] = {}
    if scenario.sequence:
        files["/owner.pub"] = keys.owner().public.der
        state["sequence"] = CONFIRMED
    if scenario.bundle:
        bundles = {f"/firmware/{OLD}.bin": old(scenario)}
        state["active"] = f"/firmware/{OLD}.bin"
        if scenario.spare:
            app = APP.format(version="0.0", body="pass").encode()
            body = {"app.py": app, "data.bin": noise("spare", scenario.spare)}
            bundles["/firmware/0.0.bin"] = build(body, "test", "0.0")
            state["previous"] = "/firmware/0.0.bin"
        state["sums"] = {path: hashlib.md5(data).hexdigest() for path, data in bundles.items()}
        files.update(bundles)
    if state:
        files["/ivota-state.json"] = kept(state)
    # The smallest possible flash, because it is copied for each cut.
    board = Board(folder, blocks=_AMPLE, **options)
    board.install()
    assert board.flash
    used = _AMPLE - _free(board.flash)
    needed = [] if scenario.slots else [made]
    needed += [new] if scenario.patch else []
    room = sum(-(-len(each) // BLOCK) for each in needed)
    free = room + room // 500 + _FREE
    blocks = used + (
        _TIGHT if scenario.spare else room - scenario.lacks if scenario.lacks else free
    )
    board = Board(folder, blocks=blocks, **options)
    board.install()
    assert board.flash
    image = _compacted(board.flash) + b"\xff" * (scenario.fat * BLOCK)
    shutil.rmtree(folder)
    md5 = hashlib.md5(new).hexdigest()
    plan = {"version": NEW, "md5sum": md5, "file_size": len(new), "index": ""}
    if scenario.channel:
        release = Release(NEW, TARGET, scenario.sequence, f"{md5}.bin", len(new), md5)
        index = Index(PRODUCT, serial=1, tracks={"stable": (release,)})
        plan["index"] = index.signed(keys.owner()).decode()
    return Stage(scenario, image, blocks, new, made, plan)


class _Counted(Memory):
    """A flash in memory that counts its erases."""

    erases = 0

    def erase(self, cfg: LFSConfig, block: int) -> int:
        self.erases += 1
        return super().erase(cfg, block)


def _compacted(flash: Flash) -> bytes:
    """Return the flash after so many changes to its folders that littlefs has compacted them.

    A board reads them at each import, and half of what it reads from uncompacted ones is old.
    """
    context = _Counted(bytearray(flash.path.read_bytes()))
    system = mounted(context, flash.blocks)
    for folder in ("/lib/ivota", "/lib", ""):
        before = context.erases
        while context.erases == before:
            system.open(f"{folder}/~", "wb").close()
            system.remove(f"{folder}/~")
    return bytes(context.buffer)


def _free(flash: Flash) -> int:
    """Return the free blocks by MicroPython's count, which includes some of littlefs's twice."""
    done = subprocess.run(
        [*micropython(32), "-c", "import _power_free", flash.path, flash.state_path, str(_AMPLE)],
        env={"MICROPYPATH": f"{compiled_folder(DEVICE)}:{compiled_folder(SIM_DEVICE)}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)
