"""Interpret the result of `on_board.look`: whose files are on a board, and which board it is."""

from __future__ import annotations

import re
from typing import Any

from ivota_tools.board.install_files import CONFIG, KEPT, PACKAGE, STARTERS

# The lines of the default boot.py and main.py that ports create on a new file system.
_STOCK = re.compile(
    r"(#.*|import (u?os|machine|gc|pyb|esp|webrepl|network)(, *(u?os|machine|gc|pyb))*"
    r"|gc\.collect\(\))?"
)


def is_ours(head: bytes, own: bytes) -> bool:
    """Return whether a boot.py or main.py is from any release of ivota, by its first line,
    which must therefore never change.
    """
    return head.split(b"\n")[0].rstrip() == own.split(b"\n")[0].rstrip()


def is_stock(head: bytes) -> bool:
    """Return whether a boot.py or main.py is only a port's default."""
    lines = head.decode(errors="replace").splitlines()
    return len(head) < 2048 and all(_STOCK.fullmatch(line.strip()) for line in lines)


def own_files(found: dict[str, Any]) -> list[str]:
    """List the files that only ivota can have created: its modules, its copy of the configuration
    and its temporary files."""
    temporaries = [KEPT, *(f"{path}~" for path in (*STARTERS, CONFIG, KEPT))]
    top = [f"/{name}" for name in names_in(found, "/")]
    lib = [f"/lib/{name}" for name in names_in(found, "/lib") if _is_bundlefs(name)]
    package = [f"{PACKAGE}/{name}" for name in names_in(found, PACKAGE) if _is_module(name)]
    return [path for path in top if path in temporaries or _is_bundlefs(path[1:])] + lib + package


def heads(found: dict[str, Any]) -> dict[str, bytes]:
    """Return the first bytes of each existing boot.py and main.py."""
    return {path: bytes.fromhex(head) for path, head in found["heads"].items()}


def names_in(found: dict[str, Any], folder: str) -> list[str]:
    """List the file names in a folder."""
    return [name for name, is_folder in found["folders"][folder] if not is_folder]


def _is_module(name: str) -> bool:
    return name.rstrip("~").endswith((".py", ".mpy"))


def _is_bundlefs(name: str) -> bool:
    return name.rstrip("~") in ("bundlefs.py", "bundlefs.mpy")


def about(found: dict[str, Any]) -> dict[str, Any]:
    """Return a description of a board for users."""
    keys = ("name", "version", "machine", "platform", "file_system", "size", "free")
    return {key: found[key] for key in keys}
