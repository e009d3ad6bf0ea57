"""Collect the files to install on a board from this checkout or wheel."""

from __future__ import annotations

from pathlib import Path

from ivota_tools.board.errors import BoardError
from ivota_tools.common.project_files import library_files
from ivota_tools.firmware.mpy_compiler import compile_mpy

CONFIG = "/ivota.json"
KEPT = "/ivota-kept.json"
"""The board's saved copy of the last configuration that reached the cloud."""
STATE = "/ivota-state.json"

STARTERS = ("/boot.py", "/main.py")
"""Files in the root directory that an application may replace with its own."""

PACKAGE = "/lib/ivota"


def board_files(root: Path, source: bool = False) -> dict[str, bytes]:
    """Return a map from paths on the board to contents. The package is compiled unless `source`.

    boot.py, main.py and bundlefs.py stay source code: they must still start after an update to an
    interpreter with another generation of .mpy.
    """
    if not (root / "lib" / "ivota").is_dir():
        raise BoardError(f"{root}/lib/ivota is missing: run ivota from a complete checkout")
    files: dict[str, bytes] = {}
    contents = {path: (root / "lib" / path).read_bytes() for path in library_files(root)}
    for path, content in contents.items():
        name = f"/lib/{path}"
        if not source and name.startswith(PACKAGE + "/") and name.endswith(".py"):
            name, content = name[:-3] + ".mpy", compile_mpy(content, path)
        files[name] = content
    files["/bundlefs.py"] = (root / "lib" / "bundlefs.py").read_bytes()
    for name in STARTERS:
        files[name] = (root / name[1:]).read_bytes()
    return files
