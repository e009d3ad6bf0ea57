"""What `on_board.look` found on a board: whose files those are, and what to call the board."""

from __future__ import annotations

import re
from typing import Any

from ivota_tools.board.board_files import CONFIG, KEPT, PACKAGE, STARTERS

# What the boot.py and main.py that ports put on a new file system consist of.
_STOCK = re.compile(
    r"(#.*|import (u?os|machine|gc|pyb|esp|webrepl|network)(, *(u?os|machine|gc|pyb))*"
    r"|gc\.collect\(\))?"
)


def is_ours(head: bytes, own: bytes) -> bool:
    """Whether a boot.py or main.py is ivota's, of whatever release: its first line says so."""
    return head.split(b"\n")[0].rstrip() == own.split(b"\n")[0].rstrip()


def is_stock(head: bytes) -> bool:
    """Whether a boot.py or main.py does nothing that anyone would miss."""
    lines = head.decode(errors="replace").splitlines()
    return len(head) < 2048 and all(_STOCK.fullmatch(line.strip()) for line in lines)


def own_files(found: dict[str, Any]) -> list[str]:
    """What only ivota can have put there: its modules, its copy of the configuration, and
    temporaries of all its files."""
    temporaries = [KEPT, *(f"{path}~" for path in (*STARTERS, CONFIG, KEPT))]
    top = [f"/{name}" for name in names_in(found, "/")]
    lib = [f"/lib/{name}" for name in names_in(found, "/lib") if _is_bundlefs(name)]
    package = [f"{PACKAGE}/{name}" for name in names_in(found, PACKAGE) if _is_module(name)]
    return [path for path in top if path in temporaries or _is_bundlefs(path[1:])] + lib + package


def heads(found: dict[str, Any]) -> dict[str, bytes]:
    """How each starter begins that is there."""
    return {path: bytes.fromhex(head) for path, head in found["heads"].items()}


def names_in(found: dict[str, Any], folder: str) -> list[str]:
    """Of the files of a folder that was looked into."""
    return [name for name, is_folder in found["folders"][folder] if not is_folder]


def _is_module(name: str) -> bool:
    return name.rstrip("~").endswith((".py", ".mpy"))


def _is_bundlefs(name: str) -> bool:
    return name.rstrip("~") in ("bundlefs.py", "bundlefs.mpy")


def about(found: dict[str, Any]) -> dict[str, Any]:
    """What a board is, for people."""
    keys = ("name", "version", "machine", "platform", "file_system", "size", "free")
    return {key: found[key] for key in keys}
