"""Start programs from PATH, and programs unpacked with their own C library."""

from __future__ import annotations

import functools
import shlex
import shutil
import subprocess
from pathlib import Path

from .cache import ToolchainError

TRIPLETS = {"amd64": "x86_64-linux-gnu", "i386": "i386-linux-gnu"}

# Check the exit status: with wrappers that lose it, failures would go unnoticed.
_STATUS = 3
_PROBE = (
    "import sys; i = sys.implementation; v = [str(n) for n in i.version if n != '']; "
    "print(i.name, 64 if sys.maxsize >> 31 else 32, '.'.join(v[:3]) + '-'.join([''] + v[3:])); "
    f"sys.exit({_STATUS})"
)


@functools.cache
def probe(command: tuple[str, ...]) -> tuple[int, str] | None:
    """Return the width and version of the MicroPython that a command starts, or None."""
    try:
        done = subprocess.run([*command, "-c", _PROBE], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode != _STATUS or len(words) != 3 or words[0] != "micropython":
        return None
    return int(words[1]), words[2]


def micropythons_on_path() -> dict[int, tuple[list[str], str]]:
    """Return a map from widths to (command line, version) for PATH."""
    found: dict[int, tuple[list[str], str]] = {}
    for name in ("micropython", "micropython32"):
        program = shutil.which(name)
        probed = program and probe((program,))
        if program and probed:
            found.setdefault(probed[0], ([program], probed[1]))
    return found


def expect(command: tuple[str, ...], bits: int, what: str) -> list[str]:
    """Check that a command starts MicroPython of this width, and return it.

    Raises ToolchainError, which mentions `what`, the source of the command.
    """
    probed = probe(command)
    if probed is None:
        hint = " (does this kernel run 32-bit programs?)" if bits == 32 else ""
        raise ToolchainError(f"{what}: {shlex.join(command)} does not run as MicroPython{hint}")
    if probed[0] != bits:
        raise ToolchainError(
            f"{what}: {shlex.join(command)} is a {probed[0]}-bit program, not {bits}-bit"
        )
    return list(command)


def unpacked(folder: Path, program: str) -> tuple[str, ...]:
    """Return the command line of a program unpacked with its own C library and loader."""
    triplet = TRIPLETS[folder.name]
    libraries = [folder / "usr/lib" / triplet, folder / "lib" / triplet]
    loaders = [found for where in libraries for found in sorted(where.glob("ld-linux*.so.2"))]
    programs = [
        found for where in ("usr/bin", "usr/sbin") if (found := folder / where / program).exists()
    ]
    if not loaders or not programs:
        raise ToolchainError(
            f"{folder} has no working {program}: delete the folder to download {program} again"
        )
    search = ":".join(str(where) for where in libraries if where.exists())
    return (str(loaders[0]), "--library-path", search, str(programs[0]))


def unpacked_valgrind(folder: Path) -> tuple[str, ...]:
    # The tools are separate programs, and the launcher needs their folder.
    tools = next((where for where in folder.glob("usr/lib*/valgrind") if where.is_dir()), folder)
    # `valgrind` itself is a script that finds the launcher by its installed path.
    launcher = unpacked(folder, "valgrind.bin")
    return ("env", f"VALGRIND_LIB={tools}", *launcher)


def run(*command: str) -> None:
    """Run a command to its end. Raises ToolchainError with the end of its error output."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
