"""A board's configuration, checked here by the board's own code before a board sees it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ivota_tools.board.errors import BoardError


def read_config(path: Path, root: Path) -> bytes:
    """A configuration file that the board's own check accepts; raises BoardError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BoardError(
            f"the configuration {path} cannot be read ({error.strerror}): name the file that you "
            "wrote with --config"
        ) from None
    parse_config(data, str(path), root)
    return data


def parse_config(data: bytes, name: str, root: Path) -> dict[str, Any]:
    """The configuration in `data`, which errors call `name`; raises BoardError."""
    try:
        config = json.loads(data)
    except ValueError as error:
        raise BoardError(f"{name} is not JSON: {error}") from None
    return check_config(config, name, root)


def check_config(config: Any, name: str, root: Path) -> dict[str, Any]:
    """The configuration as it was given, not filled with defaults; raises BoardError."""
    with _device_modules(root):
        check = importlib.import_module("ivota.config").check
        try:
            check(config)
        except ValueError as error:
            raise BoardError(f"{name}: {error}") from None
    return dict(config)


@contextmanager
def _device_modules(root: Path) -> Iterator[None]:
    """Lets the board's package be imported here, for as long as it is needed."""
    before = set(sys.modules)
    path = str(root / "lib")
    sys.path.insert(0, path)
    if importlib.util.find_spec("micropython") is None:
        stub: Any = types.ModuleType("micropython")
        stub.const = lambda value: value
        sys.modules["micropython"] = stub
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            if name == "micropython" or name.split(".")[0] == "ivota":
                del sys.modules[name]
