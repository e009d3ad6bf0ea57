"""Run a target's corpus on 32-bit MicroPython, in a heap as small as a board's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy, compiled_folder
from ivota_tools.toolchain import micropython, umqtt

from . import target
from .target import HERE

HEAP_BYTES = 35 * 1024
TIMEOUT_S = 120
_LIBRARY = CHECKOUT / "lib"


@cache
def library() -> tempfile.TemporaryDirectory[str]:
    """Build a folder with the package, the checks, and the files that device tests share."""
    folder = tempfile.TemporaryDirectory(prefix="ivota-fuzz-")
    files = {path.name: path for path in (HERE / "device").glob("*.py")}
    for name, path in files.items():
        place = Path(folder.name, name).with_suffix(".mpy")
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(compile_mpy(path.read_bytes(), name))
    # Built as for a board, except that names stay as the checks use them.
    for where, modules in {
        "": _LIBRARY,
        "ivota": _LIBRARY / "ivota",
        "umqtt": umqtt() / "umqtt",
    }.items():
        shutil.copytree(compiled_folder(modules), Path(folder.name, where), dirs_exist_ok=True)
    return folder


def outcomes(name: str, heap_bytes: int = HEAP_BYTES, bits: int = 32) -> dict[str, str]:
    """Return each input's result, by its name. Raises RuntimeError if a check raised."""
    with (
        tempfile.TemporaryDirectory(prefix="ivota-fuzz-") as flash,
        tempfile.TemporaryDirectory(prefix="ivota-fuzz-") as inputs,
    ):
        for file, data in target.corpus(name).items():
            Path(inputs, file).write_bytes(data)
        for place, data in target.load(name).files().items():
            Path(flash, place).write_bytes(data)
        root = library().name
        # Run a module that is compiled already: this heap has no room for the compiler.
        command = [*micropython(bits), "-X", f"heapsize={heap_bytes}", "-m", "run_corpus"]
        done = subprocess.run(
            [*command, name, inputs, flash],
            input="".join(f"{file}\n" for file in sorted(os.listdir(inputs))),
            env={**os.environ, "MICROPYPATH": f"{root}:.frozen"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            text=True,
            errors="replace",
        )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.returncode}\n{done.stdout[-3000:]}")
    found = (line.partition(": ") for line in done.stdout.splitlines() if ": " in line)
    return {file: outcome for file, _, outcome in found}
