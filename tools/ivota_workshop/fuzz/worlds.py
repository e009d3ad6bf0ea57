"""Load the examined code so that its coverage is measured, or with a mistake in it."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from ivota_tools.common.project_files import CHECKOUT

from .ram import Ram
from .target import HERE, Mistake, Target

Patch = Callable[[types.CodeType], types.CodeType]
Check = Callable[[bytes], "str | None"]
FLASH = "/flash"


def check_of(
    name: str, target: Target, mistake: Mistake | None = None, patch: Patch | None = None
) -> Check:
    """Return a target's check: given an input, it raises if anything is wrong, or returns how it
    ended.

    `patch` is applied to the code of `target.code`. For the host's parsers, it can be called once
    in a process.
    """
    if target.device:
        return _device(name, target, mistake, patch)
    if not mistake and not patch:
        plain: Check = importlib.import_module(f"{__package__}.host.{name}").check
        return plain
    finder = _Finder(target.code, mistake, patch)
    known = [module for module in sys.modules if module in finder.files]
    if known:
        raise RuntimeError(f"{known} are loaded already")
    sys.meta_path.insert(0, finder)
    try:
        module = importlib.import_module(f"{__package__}.host.{name}")
    finally:
        sys.meta_path.remove(finder)
    check: Check = module.check
    return check


def _device(name: str, target: Target, mistake: Mistake | None, patch: Patch | None) -> Check:
    folder = str(CHECKOUT / "tests_host")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    world = importlib.import_module("device_files").device_world()
    shim = importlib.import_module("shim.streams")
    ram = Ram(FLASH, importlib.import_module("shim.errors").DeviceOSError, shim)
    world.path.insert(1, str(HERE / "device"))
    world.mounts.mount(ram, FLASH)
    _quicken(world, target, mistake, patch)
    room = world.import_("room")
    room.FOLDER = FLASH
    room.ram = ram
    module = world.import_("fuzz_" + name)
    if target.reference:
        module.reference = target.reference
    check: Check = module.check
    files = {f"/{place}": content for place, content in target.files().items()}

    def run(data: bytes) -> str | None:
        ram.reset()
        ram.files.update(files)
        return check(data)

    return run


def _quicken(world: Any, target: Target, mistake: Mistake | None, patch: Patch | None) -> None:
    """Find and compile each file only once: `ivota.once` imports the same modules for each
    input."""
    compiled: dict[str, types.CodeType] = {}
    there: dict[tuple[str, int], bool] = {}
    plain, is_ = world._compiled, world._is

    def code_of(path: str, compiler: Any) -> types.CodeType:
        if path not in compiled:
            with open(path, encoding="utf-8") as file:
                source = file.read()
            if mistake:
                source = mistake.apply(path, source)
            code = compile(source, path, "exec", dont_inherit=True)
            if patch and any(path.endswith("/" + file) for file in target.code):
                code = patch(code)
            compiled[path] = code
        return compiled[path]

    def known(path: str, kind: int = 0) -> bool:
        if not path.startswith("/") or path.startswith(FLASH):
            return bool(is_(path, kind))
        if (path, kind) not in there:
            there[path, kind] = is_(path, kind)
        return there[path, kind]

    assert plain
    world._compiled, world._is = code_of, known


class _Finder(importlib.abc.MetaPathFinder):
    """Find the host's modules that `code` lists, and change them."""

    def __init__(self, code: Sequence[str], mistake: Mistake | None, patch: Patch | None) -> None:
        self.files = {
            file.removeprefix("tools/").removesuffix(".py").replace("/", "."): CHECKOUT / file
            for file in code
        }
        self._mistake, self._patch = mistake, patch

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.files:
            return None
        loader = _Loader(fullname, str(self.files[fullname]))
        loader.mistake, loader.patch = self._mistake, self._patch
        return importlib.util.spec_from_file_location(
            fullname, self.files[fullname], loader=loader
        )


class _Loader(importlib.machinery.SourceFileLoader):
    mistake: Mistake | None = None
    patch: Patch | None = None

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        if self.mistake:
            source = self.mistake.apply(path, source)
        code: types.CodeType = compile(source, path, "exec", dont_inherit=True)
        return self.patch(code) if self.patch else code
