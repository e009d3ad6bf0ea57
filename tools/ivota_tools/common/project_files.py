"""Locate the files for boards, in a checkout or in an installed wheel."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]  # the package ivota_tools
CHECKOUT = HERE.parents[1]  # unrelated to ivota if a wheel is installed
BROUGHT = "_device"  # the folder in the wheel (pyproject.toml)


def root() -> Path:
    """Return the folder that contains boot.py, main.py, lib/ and examples/."""
    brought = HERE / BROUGHT
    return brought if brought.is_dir() else CHECKOUT


LIBRARY = root() / "lib"  # laid out as on a board: the package, and bundlefs next to it


def library_files(root: Path) -> list[str]:
    """List the files under `root`/lib that mip installs, as relative paths."""
    lib = root / "lib"
    files = [path for path in lib.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted(path.relative_to(lib).as_posix() for path in files)


def version() -> str:
    """Return the package's version, as lib/ivota/__init__.py defines it."""
    text = (LIBRARY / "ivota" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"', text, re.M)
    assert found
    return found[1]
