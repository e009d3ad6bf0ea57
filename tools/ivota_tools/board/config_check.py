"""Check a board's configuration with the board's own code before it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ivota_tools.board.errors import BoardError
from ivota_tools.firmware.board_limits import config_problem

# Keys that a bundle's config.json, which is for many boards, must not have
# (lib/ivota/identity_lock.py).
IDENTITY = ("product_id", "device_name", "device_secret", "hardware")
# A placeholder for a board's configuration, to check one that overrides it.
_BOARD = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h", "ca": "/ca.pem"}}
# A placeholder for the MAC address of a board.
NO_MAC = b"\xff" * 6


def read_config(path: Path, root: Path) -> bytes:
    """Read a configuration file and check it with the board's code. Raises BoardError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BoardError(
            f"cannot read the configuration {path} ({error.strerror}): specify your configuration "
            "file with --config"
        ) from None
    data = readable(data)
    problem = config_problem(data, parse_config(data, str(path), root))
    if problem:
        raise BoardError(f"{path}: {problem}")
    return data


def readable(data: bytes) -> bytes:
    """Return JSON as a board's parser reads it: only UTF-8, without a byte order mark, and without
    escapes of characters beyond the BMP, which it does not join. Anything else is returned as it
    is.
    """
    with suppress(ValueError):  # Windows' PowerShell writes UTF-16
        data = data.decode(json.detect_encoding(data)).encode()
    if re.search(rb"\\u[dD][89abAB]", data):
        with suppress(ValueError):
            return json.dumps(json.loads(data), ensure_ascii=False).encode()
    return data


def parse_network(path: Path, root: Path) -> dict[str, Any]:
    """Read a configuration and check only its network sections; raises BoardError.

    It can omit the board's identity and the cloud's address.
    """
    try:
        config = json.loads(readable(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise BoardError(f"the configuration {path} cannot be used: {error}") from None
    check_config((_BOARD, config), str(path), root)
    return dict(config)


def parse_config(data: bytes, name: str, root: Path) -> dict[str, Any]:
    """Parse the configuration in `data`; errors refer to it as `name`. Raises BoardError."""
    try:
        config = json.loads(data)
    except ValueError as error:
        raise BoardError(f"{name} is not valid JSON: {error}") from None
    return dict(check_config(config, name, root))


def check_bundle_config(data: bytes, root: Path | None) -> None:
    """Check a bundle's config.json as a board does. Raises BoardError.

    Keys that it omits come from the board's own configuration. `root` contains the package that
    the board will run; without it, only keys that no version allows are rejected.
    """
    name = "config.json"
    try:
        config = json.loads(data)
    except ValueError as error:
        raise BoardError(f"{name} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise BoardError(f"{name} must be a JSON object")
    for key in IDENTITY:
        if config.get(key) is not None:
            raise BoardError(
                f"{name} sets {key}: every board with this version would become the same device. "
                f"Set {key} in each board's own /ivota.json with `ivota board install --config`"
            )
    if root is not None:
        check_config((_BOARD, config), name, root)


def check_config(config: Any, name: str, root: Path) -> Any:
    """Check a configuration and return it unchanged, without defaults. Raises BoardError."""
    with _device_modules(root):
        check = importlib.import_module("ivota.config").check
        try:
            check(config)
        except ValueError as error:
            raise BoardError(f"{name}: {error}") from None
    return config


@contextmanager
def _device_modules(root: Path) -> Iterator[None]:
    """Make the board's package importable in this process for a limited time."""
    before = set(sys.modules)
    path = str(root / "lib")
    sys.path.insert(0, path)
    micropython: Any = types.ModuleType("micropython")
    micropython.const = lambda value: value
    machine: Any = types.ModuleType("machine")
    machine.unique_id = lambda: NO_MAC  # every board has its own
    for stub in (micropython, machine):
        if importlib.util.find_spec(stub.__name__) is None:
            sys.modules[stub.__name__] = stub
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            if name in ("micropython", "machine") or name.split(".")[0] == "ivota":
                del sys.modules[name]
