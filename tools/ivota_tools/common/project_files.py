"""Where the files for boards lie: in a checkout, or where the wheel brought them."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]  # the package ivota_tools
CHECKOUT = HERE.parents[1]  # nothing of ours, where a wheel was installed
BROUGHT = "_device"  # the folder in the wheel (pyproject.toml)


def root() -> Path:
    """The folder that holds boot.py, main.py, lib/ and examples/."""
    brought = HERE / BROUGHT
    return brought if brought.is_dir() else CHECKOUT


LIBRARY = root() / "lib"  # as it lies on boards: the package, and bundlefs beside it


def library_files(root: Path) -> list[str]:
    """Every file under `root`/lib, as a path below it: what mip installs."""
    lib = root / "lib"
    files = [path for path in lib.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted(path.relative_to(lib).as_posix() for path in files)


def version() -> str:
    """The package's version: lib/ivota/__init__.py is the one place that says it."""
    text = (LIBRARY / "ivota" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"', text, re.M)
    assert found
    return found[1]
