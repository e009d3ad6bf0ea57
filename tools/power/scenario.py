"""The updates whose power is cut: what is on the board, what is pushed, how it has to end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from littlefs import LittleFS, LittleFSError
from littlefs.lfs import LFSConfig

from .. import patch
from ..bundle import build
from ..mpy import compile_mpy, compiled_folder
from ..release import kind_of
from ..signing import Signer
from ..sim import Board, Flash
from ..sim.board import DEVICE as SIM_DEVICE
from ..sim.flash import BLOCK, GEOMETRY, FlashError, Memory
from ..sim.image import make_image
from ..sim.kept import kept
from ..toolchain import micropython
from ..tree import CHECKOUT
from . import keys

DEVICE = Path(__file__).parent / "device"
LIBRARY = CHECKOUT / "lib"
SIZE = 708_482  # bytes, as in the vendor's own example
FACTORY, OLD, NEW = "0", "0.1", "0.2"  # versions
CONFIRMED = 3  # the number of what runs before, where firmware is signed
_TARGET = "t"

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
    "fail" with a `reason` (a part of the report's text). `bundle`: what runs before is a bundle,
    else the factory package, of an image where the board has slots. `files` are the new bundle's,
    beside app.py. `source` is what the new image runs, once it has said who it is. `size`: of the
    new version, in bytes. `cuts`: at so many places at most, 0 for everywhere. `sequence`: the
    number under which it is signed; 0 on a board without keys. `patch`: what comes in its place,
    "delta" or "compressed", or "wrong base", a delta for something else, or "false", one whose
    header is of another. `shared`: bytes that the bundles of both versions have, nearly.
    """

    name: str
    storage: str = "littlefs"
    payload: str = "bundle"
    ends: str = "done"
    reason: str = ""
    bundle: bool = True
    body: str = "pass"
    files: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""
    chip: int = 0
    size: int = 0
    cuts: int = 0
    fat: int = 0  # blocks of a second flash with FAT, which the firmware is staged on
    spare: int = 0  # bytes of a third bundle, which has to go for the new one
    lacks: int = 0  # blocks that the firmware would need more than there are
    sequence: int = 0
    patch: str = ""
    shared: int = 0
    stranger: bool = False  # whether it is signed by a key that the board does not trust
    # Whether what the board says reaches the cloud only when the board looks for the answer.
    late: bool = False
    damaged: bool = False  # whether app.py is not what the bundle's file list says
    refused: bool = False  # whether it never starts
    proof: str = ""  # what the version that runs in the end has to say

    @property
    def old(self) -> str:
        """The version that runs before."""
        return OLD if self.bundle or self.slots else FACTORY

    @property
    def again(self) -> str:
        """Part of a `fail` that is true after a power cut, and after which it is pushed again.

        The boot loader takes every image back that the power left in its trial.
        """
        went_back = "the boot loader went back"
        return went_back if self.slots and self.reason != went_back else ""

    @property
    def confirmed(self) -> int:
        """The number of the firmware that is confirmed in the end."""
        return self.sequence if self.ends == "done" else CONFIRMED if self.sequence else 0

    @property
    def slots(self) -> int:
        """Blocks of an OTA slot; 0 on a board without."""
        return -(-self.size // BLOCK) + 1 if self.storage == "partition" else 0

    @property
    def new_file(self) -> str:
        """Where the new bundle lies once it is active: what a patch makes lies beside it."""
        return f"/firmware/{NEW}.{'new' if self.patch else 'bin'}"

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
        Scenario("one", bundle=False, late=True),
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
            refused=True,
        ),
        Scenario("self", files=_library(messages=_messages()), proof="app: package", late=True),
        Scenario(
            "self-broken",
            ends="fail",
            reason=crashed,
            files=_library(link='raise ImportError("broken")\n'),
        ),
        Scenario("big", size=SIZE),
        Scenario("full", ends="fail", reason="no room", lacks=2, size=20_000, refused=True),
        Scenario("signed", sequence=7, files={"data.bin": _random("signed", 5_000)}, late=True),
        # A trial that fails leaves the number as it was: a better one may have the same.
        Scenario(
            "signed crash",
            ends="fail",
            reason=crashed,
            body='raise ValueError("broken")',
            sequence=7,
        ),
        # Nor is it a whole bundle: who looks into it before the signature says something else.
        Scenario(
            "signed stranger",
            ends="fail",
            reason="signature: by none of the trusted keys",
            sequence=7,
            stranger=True,
            damaged=True,
            refused=True,
        ),
        # A board without slots.
        Scenario(
            "no slot", payload="image", ends="fail", reason="no slot", size=9_000, refused=True
        ),
        *_patches(),
        *_images(),
    ]
    return {scenario.name: scenario for scenario in found}


def _patches() -> list[Scenario]:
    """Of a board that has what the new version is made of."""
    found = [
        Scenario("delta one", late=True),
        Scenario("delta few", shared=14_000),
        # A version that is given up leaves what it was made of as it was.
        Scenario(
            "delta crash",
            ends="fail",
            reason="crashed in its trial",
            body='raise ValueError("broken")',
            shared=5_000,
        ),
        Scenario("delta signed", shared=5_000, sequence=7),
        Scenario("delta big", size=SIZE, shared=600_000),
        Scenario(
            "delta wrong",
            patch="wrong base",
            ends="fail",
            reason="wrong base",
            shared=5_000,
            refused=True,
        ),
        # What it makes is a whole bundle, but not the one that it says.
        Scenario(
            "delta false",
            patch="false",
            ends="fail",
            reason="the result is not what it should be",
            shared=5_000,
            refused=True,
        ),
        Scenario("compressed", patch="compressed", shared=14_000, late=True),
    ]
    return [replace(each, patch=each.patch or "delta") for each in found]


def _images() -> list[Scenario]:
    """Of a board with slots."""
    found = [
        Scenario("image one", bundle=False, size=3_000),
        # Longer than what lies between two notes of the position.
        Scenario("image few", bundle=False, size=75_000, late=True),
        Scenario(
            "image limit",
            ends="fail",
            reason="not confirmed in time",
            size=9_000,
            source="import _power_net\n_power_net.servers.clear()",
        ),
        # Nothing of it starts behind boot.py, whose watchdog bites.
        Scenario(
            "image crash",
            ends="fail",
            reason="the boot loader went back",
            size=9_000,
            source="import sys\nsys.modules['ivota.agent'] = None",
        ),
        # It dies before boot.py.
        Scenario(
            "image dead",
            ends="fail",
            reason="did not start it in 10 tries",
            size=3_000,
            source="import machine\nmachine.reset()",
            cuts=60,
        ),
        Scenario(
            "image refused",
            ends="fail",
            reason="an image for chip 5",
            size=9_000,
            chip=5,
            refused=True,
        ),
        Scenario("image big", size=SIZE),
        Scenario("image signed", size=9_000, sequence=7),
        Scenario("image delta", bundle=False, size=20_000, patch="delta"),
        Scenario(
            "image stranger",
            ends="fail",
            reason="signature: by none of the trusted keys",
            size=9_000,
            chip=5,
            sequence=7,
            stranger=True,
            refused=True,
        ),
    ]
    return [replace(each, storage="partition", payload="image") for each in found]


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
    result: bytes  # what it is made into; the same where it is no patch
    plan: dict[str, Any]


def firmware(scenario: Scenario, new: bytes) -> bytes:
    """What the cloud offers for the new version."""
    if not scenario.patch:
        return new
    base = b"" if scenario.patch == "compressed" else old(scenario)
    data = patch.make(
        base[1:] if scenario.patch == "wrong base" else base,
        new,
        base_version=OLD if base else "",
        kind="esp32-image" if scenario.payload == "image" else "bundle",
    )
    if scenario.patch == "false":
        other = payload(replace(scenario, body="None"))
        end = patch.read(data).header_size
        data = data[:end] + patch.make(base, other, base_version=OLD)[end:]
    return _signed(scenario, data, "patch")


def _signed(scenario: Scenario, data: bytes, kind: str) -> bytes:
    if not scenario.sequence:
        return data
    key = keys.stranger() if scenario.stranger else keys.owner()
    return Signer(key, scenario.sequence, _TARGET).sign(data, NEW, kind)


def old(scenario: Scenario) -> bytes:
    """The bundle that runs before, or the image."""
    if scenario.slots and not scenario.bundle:
        return make_image(OLD, f'print("app: {OLD}")', size=scenario.size)
    body = {"app.py": _APP.format(version=OLD, body="pass").encode(), **_shared(scenario, OLD)}
    return build(body, "test", OLD)


def _shared(scenario: Scenario, version: str) -> dict[str, bytes]:
    data = bytearray(_random("shared", scenario.shared))
    if version == NEW:
        data[::1009] = bytes(len(data[::1009]))
    return {"data.bin": bytes(data)} if data else {}


def result(scenario: Scenario) -> bytes:
    """The new version, as it runs."""
    data = payload(scenario)
    return _signed(scenario, data, kind_of(data))


def payload(scenario: Scenario) -> bytes:
    """What of it is a bundle, an image, or an application's own."""
    if scenario.payload == "file":
        return _random(scenario.name, scenario.size)
    if scenario.payload == "image":
        source = f'print("app: {NEW}")\n{scenario.source}'
        like = OLD if scenario.patch else None
        return make_image(NEW, source, scenario.chip, scenario.size, like)
    contents = {
        "app.py": _APP.format(version=NEW, body=scenario.body).encode(),
        **_shared(scenario, NEW),
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
    signed = {"keys": ["/owner.pub"], "target": _TARGET} if scenario.sequence else {}
    return {
        "product_id": "P",
        "device_name": "board",
        "mqtt": {"host": "cloud"},
        # Short, for what no event ends.
        "report_interval_s": 20,
        "retry": {"first_s": 0.5, "most_s": 4},
        "trial": {"limit_s": 3},
        **signed,
    }


def stage(scenario: Scenario, folder: Path, replaced: Mapping[str, bytes] | None = None) -> Stage:
    """Makes a board's flash in `folder`. `replaced`: files of the factory in other words."""
    made = result(scenario)
    new = firmware(scenario, made)
    files: dict[str, bytes | Path] = dict(replaced or {})
    options: dict[str, Any] = {"mpy": True, "config": config(scenario), "files": files}
    if scenario.fat:
        options["config"]["firmware_dir"] = "/fat/firmware"
        files["/main.py"] = (DEVICE / "source" / "_power_fat_main.py").read_bytes()
    if scenario.slots:
        # Where a bundle runs, the image below it says nothing.
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
            app = _APP.format(version="0.0", body="pass").encode()
            body = {"app.py": app, "data.bin": _random("spare", scenario.spare)}
            bundles["/firmware/0.0.bin"] = build(body, "test", "0.0")
            state["previous"] = "/firmware/0.0.bin"
        state["sums"] = {path: hashlib.md5(data).hexdigest() for path, data in bundles.items()}
        files.update(bundles)
    if state:
        files["/ivota-state.json"] = kept(state)
    # As small a flash as will do: it is copied for each cut.
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
    plan = {"version": NEW, "md5sum": hashlib.md5(new).hexdigest(), "file_size": len(new)}
    return Stage(scenario, image, blocks, new, made, plan)


class _Counted(Memory):
    """A flash in memory that counts its erases."""

    erases = 0

    def erase(self, cfg: LFSConfig, block: int) -> int:
        self.erases += 1
        return super().erase(cfg, block)


def _compacted(flash: Flash) -> bytes:
    """The flash after so many changes to its folders that littlefs has written them anew.

    A board reads them at each import, and half of what a fresh one reads are old entries.
    """
    context = _Counted(bytearray(flash.path.read_bytes()))
    system = LittleFS(context=context, block_count=flash.blocks, mount=False, **GEOMETRY)
    system.mount()
    for folder in ("/lib/ivota", "/lib", ""):
        before = context.erases
        while context.erases == before:
            system.open(f"{folder}/~", "wb").close()
            system.remove(f"{folder}/~")
    return bytes(context.buffer)


def _free(flash: Flash) -> int:
    """Blocks, as MicroPython counts them: some of littlefs's own it counts twice."""
    done = subprocess.run(
        [*micropython(32), "-c", "import _power_free", flash.path, flash.state_path, str(_AMPLE)],
        env={"MICROPYPATH": f"{compiled_folder(DEVICE)}:{compiled_folder(SIM_DEVICE)}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


@contextlib.contextmanager
def edited(image: bytes | bytearray, blocks: int) -> Iterator[tuple[LittleFS, bytearray]]:
    """A file system in the first blocks of a flash, to be changed from outside, and the flash."""
    context = Memory(bytearray(image))
    system = LittleFS(context=context, block_count=blocks, mount=False, **GEOMETRY)
    system.mount()
    yield system, context.buffer


def tree(image: bytes | bytearray, blocks: int) -> dict[str, bytes]:
    """Every file in the first blocks of a flash. Raises FlashError without a file system."""
    system = _read_only(image, blocks)
    result = {}
    for folder, _, names in system.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with system.open(path, "rb") as file:
                result[path] = file.read()
    return result


def read(image: bytes | bytearray, blocks: int, path: str) -> bytes:
    """One of the files. Raises FlashError without a file system, FileNotFoundError."""
    system = _read_only(image, blocks)
    with system.open(path, "rb") as file:
        data: bytes = file.read()
    return data


def _read_only(image: bytes | bytearray, blocks: int) -> LittleFS:
    system = LittleFS(
        context=Memory(bytearray(image)),
        block_count=blocks,
        mount=False,
        # How much is read at once is no part of the format: large reads make this fast.
        **{**GEOMETRY, "read_size": BLOCK, "prog_size": BLOCK, "cache_size": BLOCK},
    )
    try:
        system.mount()
    except LittleFSError as error:
        raise FlashError(f"no file system: {error}") from error
    return system
