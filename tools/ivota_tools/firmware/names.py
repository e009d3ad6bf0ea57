"""Names of the package's own as a board has them: words that MicroPython knows anyway.

MicroPython keeps every different name that it meets for ever, about 20 bytes each, and a .mpy
file carries its text. Some 160 words need neither: they are part of the .mpy format, and in the
flash of every interpreter that reads it. Most of them are used nowhere in the package, so they
can stand for names that nobody outside of it uses.

What is not proved to be the package's own keeps its name: what is bound nowhere in it, what
stands in it as a text or as the keyword of a call, what the documentation names (`PUBLIC`), and
what other libraries call by the same name (`FOREIGN`; both in words.py). No word that
occurs in the package itself, and none that the interpreter or a library looks for, stands for
another name, and in the whole package no word for two that could meet.

`python -m ivota_tools.firmware.names` prints which word stands for which name; with `--read` it
copies its input, a board's traceback, and puts the names back.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ivota_tools.common.project_files import LIBRARY
from ivota_tools.firmware.identifiers import parse
from ivota_tools.firmware.renaming import Names


def read_package(folder: Path) -> dict[str, str]:
    """The modules of the package in `folder`."""
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.py"))}


def names_of(sources: Mapping[str, bytes]) -> Names:
    """Those for `sources`, Python files of a board or bundle by their path.

    The package of this checkout gets all of its names. Any other one, of which nobody here has
    seen that it works so, keeps what its modules share, and so does one that somebody uses in
    another way than the documentation says.
    """
    for path, source in sources.items():
        folder, _, name = path.rpartition("/")
        if folder.rpartition("/")[2] == "ivota":
            mine = LIBRARY / "ivota" / name
            if not mine.is_file() or mine.read_bytes() != source:
                return private_names()
        elif _looks_inside(source):
            return private_names()
    return own_names()


def _looks_inside(source: bytes) -> bool:
    try:
        module = parse(source)
    except (SyntaxError, ValueError):
        return False  # the compiler says what is wrong
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] == "ivota"
        and any(each.name in own_names().shared for each in node.names)
        for node in ast.walk(module)
    )


def renamed_script(script: Path) -> bytes:
    """A script that uses what is inside of the package, for a board that has it compiled."""
    return own_names().rename_shared(script.read_text()).encode()


@cache
def own_names() -> Names:
    """Those of this checkout's package, on which its tests run."""
    return Names(read_package(LIBRARY / "ivota"))


@cache
def private_names() -> Names:
    """Those of any other package: only what is private to a module becomes short."""
    return Names({}, arguments=False, shared_too=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_tools.firmware.names")
    parser.add_argument("--read", action="store_true", help="put the names back into a traceback")
    given = parser.parse_args()
    sources = read_package(LIBRARY / "ivota")
    if given.read:
        for line in sys.stdin:
            sys.stdout.write(own_names().read(line, sources))
        return
    for name, word in sorted(own_names().shared.items()):
        print(f"{word:20} {name}")
    for module, source in sources.items():
        for name, word in own_names().of_module(parse(source)).items():
            print(f"{word:20} {module}.{name}")


if __name__ == "__main__":
    main()
