"""Create Python environments that are separate from the project's own."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT

FOLDER = CHECKOUT / "build" / "beside"
_STAMP = "made"


def extra(name: str) -> list[str]:
    """Return the requirements of one of pyproject.toml's extras."""
    return [
        line.partition(";")[0].strip()
        for line in importlib.metadata.requires("ivota") or ()
        if "extra ==" in line and f'"{name}"' in line.partition("extra ==")[2].replace("'", '"')
    ]


def tools() -> Path:
    """Return the folder of the programs of the extra `operations`; install them if missing."""
    return environment("operations", *extra("operations"))


def product() -> Path:
    """Return the folder of the programs of an installation from the lock file."""
    lock = CHECKOUT / "requirements.lock"
    return environment("product", "--require-hashes", "--requirement", str(lock))


def environment(name: str, *words: str) -> Path:
    """Return the bin folder of an environment with these arguments of `pip install`.

    Raises CalledProcessError if pip fails; pip prints the reason.
    """
    folder = FOLDER / name
    stamp = folder / _STAMP
    # A file's content counts, and not only its name.
    wanted = "\n".join(
        Path(word).read_text() if word.endswith(".lock") else word for word in words
    )
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        _pip(folder / "bin", *words)
        stamp.write_text(wanted)
    return folder / "bin"


def _pip(programs: Path, *words: str) -> None:
    quiet = "--quiet", "--disable-pip-version-check"
    subprocess.run([programs / "python", "-m", "pip", "install", *quiet, *words], check=True)
