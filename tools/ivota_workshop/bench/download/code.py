"""Measure the code of the package: its bytes, its modules, and the part that an update loads.

`python -m ivota_workshop.bench.download.code` prints the modules that a plain update loads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.mpy_compiler import compile_mpy

from ..figures import Figure
from .heap import Lanes, modules
from .lane import SIZE

# In front of boot.py: prints each file that an import loads, even if the module is dropped later.
_RECORDER = """
import builtins, sys
def _record(known, given):
    def record(*args):
        # asyncio brings in its parts relative to the frame that calls, which is now this one.
        if len(args) == 5 and args[1] is None and args[4]:
            args = (args[0], sys.modules["asyncio"].__dict__) + args[2:]
        result = given(*args)
        for name in sys.modules:
            if name not in known:
                known.add(name)
                print("loaded:", getattr(sys.modules[name], "__file__", ""))
        return result
    return record
builtins.__import__ = _record(set(), builtins.__import__)
"""


def loaded() -> dict[str, int]:
    """Return the bytes of .mpy by file, for main.py and each of our files a plain update loads."""
    with Lanes.open(SIZE, number=1) as lanes:
        boot = _RECORDER.encode() + (CHECKOUT / "boot.py").read_bytes()
        outcome = lanes.update(None, {"/boot.py": boot})
    if outcome.wrong:
        raise RuntimeError("\n".join([outcome.wrong, *outcome.log]))
    names = {line.partition(" ")[2] for line in outcome.log if line.startswith("loaded: ")}
    # The bundle contains the same file, which is loaded again.
    ours = (re.search(r"(bundlefs|ivota/\w+)\.mpy$", name) for name in names)
    paths = {"main.py", *(f"lib/{found[1]}.py" for found in ours if found)}
    return {
        path: len(compile_mpy((CHECKOUT / path).read_bytes(), "/" + path))
        for path in sorted(paths)
    }


def loaded_late() -> set[str]:
    """Return the modules that the code names for `once`: in a call, or as a phase."""
    package = CHECKOUT / "lib" / "ivota"
    known = {path.stem for path in package.glob("*.py")}
    texts = (text for path in package.glob("*.py") for text in _named(ast.parse(path.read_text())))
    return known & set(texts)


def _named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            values = node.args if called in ("once", "enter") else []
        elif isinstance(node, ast.Assign):
            place = ast.unparse(node.targets[0]).rpartition(".")[2]
            values = [node.value] if place in ("phase", "receiver") else []
        else:
            continue
        for part in (part for value in values for part in ast.walk(value)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def figures() -> dict[str, Figure]:
    files = (name.replace(".", "/") for name in modules() if name != "tls")
    sources = {f"/lib/{name}.py": (CHECKOUT / "lib" / f"{name}.py").read_bytes() for name in files}
    every = sum(len(compile_mpy(source, path)) for path, source in sources.items())
    count = len(list((CHECKOUT / "lib" / "ivota").glob("*.py")))
    return {
        "mpy_bytes_core": Figure(sum(loaded().values()), "<= 11264", "bytes"),
        "mpy_bytes_all": Figure(every, "", "bytes"),
        "modules": Figure(count, "<= 40", "modules"),
        "once_boundaries": Figure(len(loaded_late()), "<= 16", "modules"),
    }


def main() -> None:
    sizes = loaded()
    for name, size in sizes.items():
        print(f"{size:6} {name}")
    print(f"{sum(sizes.values()):6} in all")


if __name__ == "__main__":
    main()
