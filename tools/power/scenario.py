"""The updates whose power is cut: what is on the board, what is pushed, how it has to end."""

from __future__ import annotations

import binascii
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from littlefs import LittleFS, LittleFSError

from ..bundle import build
from ..mpy import compile_mpy, compiled_folder
from ..sim import Board, Flash
from ..sim.board import DEVICE as SIM_DEVICE
from ..sim.flash import BLOCK, GEOMETRY, FlashError, Memory
from ..toolchain import micropython

DEVICE = Path(__file__).parent / "device"
CHECKOUT = Path(__file__).parents[2]
LIBRARY = CHECKOUT / "lib"
SIZE = 708_482  # bytes, as in the vendor's own example
OLD, NEW = "0.1", "0.2"

_APP = """
print("app: {version}")


async def main():
    {body}
"""
_FREE = 16  # blocks, beside the firmware's own, that a small flash has
_AMPLE = 1024
_TIGHT = 6  # the same where a third bundle has to go for the new one


@dataclass(frozen=True)
class Scenario:
    """An update, and how it has to end.

    `storage` and `payload` name where the firmware goes and what it is. `ends`: "done", or
    "fail" with a `reason` (a part of the report's text). `factory`: nothing but the factory
    package runs before; else a bundle does. `files` are the new bundle's, beside app.py.
    """

    name: str
    storage: str = "littlefs"
    payload: str = "bundle"
    ends: str = "done"
    reason: str = ""
    factory: bool = False
    body: str = "pass"
    files: Mapping[str, bytes] = field(default_factory=dict)
    size: int = 0
    spare: int = 0  # bytes of a third bundle, which has to go for the new one
    # Whether what the board says reaches the cloud only when the board looks for the answer.
    late: bool = False
    damaged: bool = False  # whether app.py is not what the bundle's file list says
    proof: str = ""  # what the version that runs in the end has to say

    @property
    def old(self) -> str:
        """The version that runs before."""
        return "0" if self.factory else OLD

    @property
    def last(self) -> str:
        """The version that has to run in the end."""
        return NEW if self.ends == "done" else self.old


def _random(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _library(**changed: str) -> dict[str, bytes]:
    """The package as a bundle brings it, with some modules in other words."""
    result = {}
    for path in sorted((LIBRARY / "ivota").glob("*.py")):
        source = changed.get(path.stem, path.read_text()).encode()
        name = f"lib/ivota/{path.stem}.mpy"
        result[name] = compile_mpy(source, f"/{name[:-4]}.py")
    return result


def _config(**values: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps(values).encode()}


@cache
def scenarios() -> dict[str, Scenario]:
    """All of them, by name."""
    crashed = "crashed in its trial"
    found = [
        Scenario("one", factory=True, late=True),
        Scenario("few", files={"data.bin": _random("few", 11_000)}, spare=30_000),
        # The new version does not reach the cloud: its configuration names another.
        Scenario(
            "limit",
            ends="fail",
            reason="not confirmed in time",
            late=True,
            files=_config(mqtt={"host": "nowhere"}) | {"data.bin": _random("limit", 5_000)},
        ),
        Scenario(
            "crash",
            ends="fail",
            reason=crashed,
            body='raise ValueError("broken")',
            files={"data.bin": _random("crash", 5_000)},
        ),
        # Every byte came, but the bundle is none.
        Scenario(
            "refused",
            ends="fail",
            reason="can't be used",
            files={"data.bin": _random("refused", 5_000)},
            damaged=True,
        ),
        Scenario("self", files=_library(messages=_messages()), proof="app: package", late=True),
        Scenario(
            "self-broken",
            ends="fail",
            reason=crashed,
            files=_library(link='raise ImportError("broken")\n'),
        ),
        Scenario("big", size=SIZE),
    ]
    return {scenario.name: scenario for scenario in found}


def _messages() -> str:
    """The module in other words, to see that the new one runs."""
    return (LIBRARY / "ivota" / "messages.py").read_text() + '\nprint("app: package")\n'


@dataclass(frozen=True)
class Stage:
    """A scenario that can be played: the flash before it, and what the cloud offers."""

    scenario: Scenario
    image: bytes
    blocks: int  # of the file system
    firmware: bytes
    plan: dict[str, Any]


def firmware(scenario: Scenario) -> bytes:
    contents = {
        "app.py": _APP.format(version=NEW, body=scenario.body).encode(),
        **scenario.files,
    }
    data = build(contents, "test", NEW)
    if scenario.damaged:
        app = contents["app.py"]
        # As long, as good to run, and not what the list says.
        data = data.replace(app, app.replace(b"pass", b"None"))
    if scenario.size:
        room = scenario.size - len(data)
        # Bytes behind the archive's end are part of the firmware.
        data += _random(scenario.name, room)
    return data


def config(scenario: Scenario) -> dict[str, Any]:
    return {
        "product_id": "P",
        "device_name": "board",
        "mqtt": {"host": "cloud"},
        # Short, for what no event ends.
        "report_interval_s": 20,
        "retry": {"first_s": 0.5, "most_s": 4},
        "trial": {"limit_s": 3},
    }


def stage(scenario: Scenario, folder: Path, replaced: Mapping[str, bytes] | None = None) -> Stage:
    """Makes a board's flash in `folder`. `replaced`: files of the factory in other words."""
    new = firmware(scenario)
    files: dict[str, bytes | Path] = dict(replaced or {})
    if not scenario.factory:
        body = {"app.py": _APP.format(version=OLD, body="pass").encode()}
        files[f"/firmware/{OLD}.bin"] = build(body, "test", OLD)
        state = {"active": f"/firmware/{OLD}.bin"}
        if scenario.spare:
            state["previous"] = "/firmware/0.0.bin"
            files["/firmware/0.0.bin"] = build(
                {"app.py": b"", "data.bin": _random("spare", scenario.spare)}, "test", "0.0"
            )
        files["/ivota-state.json"] = _kept(state)
    # As small a flash as will do: it is copied for each cut.
    board = Board(folder, mpy=True, blocks=_AMPLE, config=config(scenario), files=files)
    board.install()
    assert board.flash
    used = _AMPLE - _free(board.flash)
    room = -(-len(new) // BLOCK)
    blocks = used + (_TIGHT if scenario.spare else room + room // 500 + _FREE)
    board = Board(folder, mpy=True, blocks=blocks, config=config(scenario), files=files)
    board.install()
    assert board.flash
    image = board.flash.path.read_bytes()
    shutil.rmtree(folder)
    plan = {"version": NEW, "md5sum": hashlib.md5(new).hexdigest(), "file_size": len(new)}
    return Stage(scenario, image, blocks, new, plan)


def _free(flash: Flash) -> int:
    """Blocks, as MicroPython counts them: some of littlefs's own it counts twice."""
    done = subprocess.run(
        [*micropython(32), "-c", "import _power_free", *flash.arguments()],
        env={"MICROPYPATH": f"{compiled_folder(DEVICE)}:{compiled_folder(SIM_DEVICE)}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


def _kept(state: Mapping[str, Any]) -> bytes:
    """The state file, as ivota.jsonfile writes it."""
    head = (json.dumps(state)[:-1] + ", ").encode()
    return head + b'"crc": "%08x"}' % binascii.crc32(head)


def tree(image: bytes | bytearray, blocks: int) -> dict[str, bytes]:
    """Every file in the first blocks of a flash. Raises FlashError without a file system."""
    system = LittleFS(
        context=Memory(bytearray(image)),
        block_count=blocks,
        mount=False,
        # What is cached is no part of the format: large reads make this fast.
        **{**GEOMETRY, "cache_size": BLOCK},
    )
    try:
        system.mount()
    except LittleFSError as error:
        raise FlashError(f"no file system: {error}") from error
    result = {}
    for folder, _, names in system.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with system.open(path, "rb") as file:
                result[path] = file.read()
    return result
