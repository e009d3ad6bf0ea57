"""What the system tests put on boards: a configuration, an application, images that die."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from littlefs import LittleFSError
from waiting import WAIT_S, wait_until

from ivota_tools.sim import Board, FlashError

MakeBoard = Callable[..., Board]  # the fixtures `agent` and `application`
CALLBACK_MAIN = Path(__file__).parent / "callback_main.py"
# boot.py runs, but the package does not.
DIES_AFTER_BOOT_PY = """
import sys, machine
class _Broken:
    def __getattr__(self, name):
        machine.reset()
sys.modules["ivota"] = _Broken()
"""
DIES_AT_ONCE = "import machine\nmachine.reset()\n"


def seen(board: Board, path: str) -> bytes:
    """A file of a board that may be on, seen from outside: nothing where there is none, or where
    the copy of its flash is half old and half new. For who looks again."""
    try:
        return board.read(path)
    except (FileNotFoundError, FlashError, LittleFSError):
        return b""


def wait_noted(board: Board) -> None:
    """Waits until the board has noted that its last word was acknowledged: else it says that again
    when it starts after a power cut."""

    def noted() -> bool:
        state = seen(board, "/ivota-state.json")
        return bool(state) and not json.loads(state).get("outbox")

    wait_until(noted, "an acknowledgement that is noted")


class Gate:
    """Where a board of CALLBACK_MAIN waits after each retry: `files` has it do so."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(WAIT_S)
        self.files = {"/app.json": json.dumps({"gate": self._server.getsockname()[1]}).encode()}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """With the board at its next retry; it goes on afterwards."""
        with self._server.accept()[0]:
            yield

    def open(self) -> None:
        """Lets the board go on at each later retry."""
        self._server.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()


def settings(name: str, port: int, **changes: Any) -> dict[str, Any]:
    """A configuration that retries fast; `changes` are merged into its sections."""
    config: dict[str, Any] = {
        "product_id": "P",
        "device_name": name,
        "version": "0.1",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "http": {"timeout_s": 3, "deadline_s": 5},
        "retry": {"first_s": 0.1, "most_s": 1},
    }
    for key, value in changes.items():
        if isinstance(value, Mapping) and key in config:
            config[key] = {**config[key], **value}
        else:
            config[key] = value
    return config
