"""Download MicroPython modules and sources from PyPI archives with known checksums."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .cache import ToolchainError

UMQTT = "micropython-umqtt.simple==1.3.4"
UMQTT_SHA256 = "8555d2f654deb8eb0d724f79b0811a78cc94029d070f3d96bbd74288653d63a5"  # simple.py
MICROPYTHON_OTA = "micropython-ota==2.1.0"
MICROPYTHON_OTA_SHA256 = "52499760ff2150380119cf9caef6064f771c75efb4a3e9b2b1eadea748b1132b"


def fetch_umqtt(new: Path) -> None:
    _fetch_module(new, UMQTT, "umqtt/simple.py", UMQTT_SHA256)


def fetch_micropython_ota(new: Path) -> None:
    _fetch_module(new, MICROPYTHON_OTA, "micropython_ota.py", MICROPYTHON_OTA_SHA256)


def fetch_sources(requirement: str, sha256: str, under: str, new: Path) -> None:
    """Extract a part of a source archive. Raises ToolchainError."""
    with _archive(requirement) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise ToolchainError(f"{requirement}: the archive has an unexpected checksum")
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                _, _, inside = member.name.partition("/")
                if member.isfile() and inside.startswith(f"{under}/"):
                    file = archive.extractfile(member)
                    assert file
                    place = new / inside
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(file.read())


def _fetch_module(new: Path, requirement: str, path: str, sha256: str) -> None:
    """Read a file of a source archive. Raises ToolchainError."""
    with _archive(requirement) as found:
        with tarfile.open(found) as archive:
            names = [name for name in archive.getnames() if name.endswith(f"/{path}")]
            file = archive.extractfile(names[0]) if names else None
            source = file.read() if file else b""
    if hashlib.sha256(source).hexdigest() != sha256:
        raise ToolchainError(f"{requirement}: {path} in the archive has an unexpected checksum")
    place = new / path
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(source)


@contextlib.contextmanager
def _archive(requirement: str) -> Iterator[Path]:
    """Download a source archive to a temporary folder. Raises ToolchainError."""
    # pip rejects archives without setup.py; unearth only downloads them.
    with tempfile.TemporaryDirectory(prefix="ivota-module-") as folder:
        options = [*_pip_indexes(), "--no-binary", "--download", folder]
        command = [sys.executable, "-m", "unearth", *options, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            lines = done.stderr.strip().splitlines() or ["nothing was downloaded"]
            raise ToolchainError(
                f"cannot download {requirement}: {lines[-1]}\nCheck the network and try again."
            )
        yield archives[0]


def _pip_indexes() -> list[str]:
    """Return unearth's options for pip's configured index, which unearth does not read."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    options = []
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        if key.endswith(".index-url"):
            options += ["--index-url", value.strip("'\"")]
    return options
