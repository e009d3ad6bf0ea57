"""MicroPython's manifests, evaluated: what a build would freeze.

No package on PyPI has the evaluator of MicroPython's own build (tools/manifestfile.py), so this is
a small one of the functions in its documentation that manifests of applications use: `metadata`,
`options`, `include`, `require`, `package`, `module` and `freeze`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class _Options:
    def __init__(self, given: Mapping[str, object]) -> None:
        self._given, self._defaults = given, dict[str, object]()

    def defaults(self, **values: object) -> None:
        self._defaults.update(values)

    def __getattr__(self, name: str) -> object:
        return self._given.get(name, self._defaults.get(name))


@dataclass
class Frozen:
    """`files`: name in the firmware → (file, level of optimization). `required`: libraries."""

    files: dict[str, tuple[Path, int | None]] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)


def evaluate(
    manifest: Path, variables: Mapping[str, Path] | None = None, **options: object
) -> Frozen:
    """What a manifest freezes; `variables` are those in its paths, such as PORT_DIR.

    Raises FileNotFoundError for a file that is not there, ValueError for one that is there twice.
    """
    frozen = Frozen()
    _include(frozen, manifest, variables or {}, options)
    return frozen


def _include(
    frozen: Frozen, manifest: Path, variables: Mapping[str, Path], given: Mapping[str, object]
) -> None:
    # Paths in a manifest are relative to its own folder.
    folder = manifest.resolve().parent

    def where(path: str) -> Path:
        for name, value in variables.items():
            path = path.replace(f"$({name})", str(value))
        return folder / path

    def add(base: Path, path: str, opt: int | None) -> None:
        if not (base / path).is_file():
            raise FileNotFoundError(base / path)
        if path in frozen.files:
            raise ValueError(f"{path} is frozen twice")
        frozen.files[path] = (base / path, opt)

    def include(path: str, **options: object) -> None:
        place = where(path)
        _include(frozen, place / "manifest.py" if place.is_dir() else place, variables, options)

    def require(name: str, library: str | None = None) -> None:
        if name not in frozen.required:  # once, however often it is asked for
            frozen.required.append(name)

    def package(
        package_path: str,
        files: tuple[str, ...] | None = None,
        base_path: str = ".",
        opt: int | None = None,
    ) -> None:
        base = where(base_path)
        if not (base / package_path).is_dir():
            raise FileNotFoundError(base / package_path)
        for place, _, names in sorted(os.walk(base / package_path)):
            for name in sorted(names):
                path = Path(place, name).relative_to(base).as_posix()
                inner = path.removeprefix(f"{package_path}/")
                if inner in files if files is not None else name.endswith(".py"):
                    add(base, path, opt)

    def module(module_path: str, base_path: str = ".", opt: int | None = None) -> None:
        add(where(base_path), module_path, opt)

    def freeze(path: str, script: str | None = None, opt: int | None = None) -> None:
        base = where(path)
        found = [script] if script else sorted(each.name for each in base.glob("*.py"))
        for name in found:
            add(base, name, opt)

    known: dict[str, Any] = {
        "metadata": lambda **_: None,
        "options": _Options(given),
        "include": include,
        "require": require,
        "package": package,
        "module": module,
        "freeze": freeze,
    }
    exec(compile(manifest.read_text(), str(manifest), "exec"), known)
