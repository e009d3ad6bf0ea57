"""The downloaders that are compared, and the files that each puts on a board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.toolchain import micropython_ota

from ..download.wire import WINDOW

DEVICE = Path(__file__).parent / "device"
FOLDER = "/app"  # where other downloaders replace the existing firmware
OLD = b"# version 0.1\n" * 400


@dataclass(frozen=True)
class Way:
    """A downloader. `module` is its file in device/, `done` what it prints when it reports
    success.

    `installed` is the path of the firmware after that; `places` are all files that may hold bytes
    of it.
    """

    name: str
    label: str
    module: str
    done: str
    installed: str
    places: tuple[str, ...]


def _other(name: str, label: str, module: str, *places: str) -> Way:
    target = f"{FOLDER}/firmware.py"
    return Way(name, label, module, "^peer: done", target, (target, *places))


OURS = Way("ours", "ivota", "", "^app: has", "/firmware/0.2.bin", ("/firmware/0.2.bin",))
WAYS = (
    OURS,
    _other("micropython_ota", "micropython-ota 2.1.0", "ota_files", f"{FOLDER}/tmp/firmware.py"),
    _other("requests_whole", "requests, whole body", "requests_whole"),
    _other("requests_pieces", "requests, 512 bytes", "requests_pieces"),
    _other("mip", "mip", "mip_file"),
)


def firmware(size: int) -> bytes:
    """Return Python source of exactly `size` bytes: micropython-ota accepts only text."""
    lines = (f"LINE_{number} = {number * 7919 % 1_000_003}\n" for number in range(size))
    text, length = [], 0
    for line in lines:
        text.append(line)
        length += len(line)
        if length >= size:
            break
    return "".join(text).encode()[:size]


def board_options(
    way: Way, files_port: int, broker_port: int, tries: int, window: bool
) -> dict[str, Any]:
    """Return the options of a downloader's Board; `window`: with a board's TCP window."""
    head = WINDOW.encode() if window else b""
    if way is OURS:
        main = (DEVICE.parents[1] / "device" / "download.py").read_bytes()
        return {
            "mpy": True,
            "files": {"/boot.py": head + (CHECKOUT / "boot.py").read_bytes(), "/main.py": main},
            "config": {
                "product_id": "P",
                "version": "0.1",
                "mqtt": {"host": "127.0.0.1", "port": broker_port},
            },
        }
    config = {"host": f"http://127.0.0.1:{files_port}", "folder": FOLDER, "tries": tries}
    return {
        "factory": False,
        "files": {
            "/boot.py": head,
            "/main.py": (DEVICE / "download.py").read_bytes(),
            "/peer.json": json.dumps(config).encode(),
            f"{FOLDER}/firmware.py": OLD,
            f"{FOLDER}/version": b"0.1",
            **{f"/lib/{path}": data for path, data in modules(way).items()},
        },
    }


def modules(way: Way) -> Mapping[str, bytes]:
    """Return the .mpy files of another downloader: the library, and `way`, which calls it."""
    found = {"way.mpy": _compiled(DEVICE / f"{way.module}.py")}
    if way.name == "micropython_ota":
        found["micropython_ota.mpy"] = _compiled(micropython_ota() / "micropython_ota.py")
        found["urequests.mpy"] = _compiled(DEVICE / "urequests.py")
    return found


@cache
def _compiled(path: Path) -> bytes:
    return compile_mpy(path.read_bytes(), f"/lib/{path.name}")
