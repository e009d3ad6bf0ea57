"""What the system tests share: one broker, a scripted server, boards that are always stopped.

board_support   what is put on boards, such as callback_main, an application without slots
wire            the cloud's end of MQTT, message by message
badserver       HTTP whose requests are answered by a script: what a server may do wrong
faultserver     HTTP byte by byte, by a function of the test: what is no HTTP any more
fronts          what stands between a board and a server: late, refusing, TLS
mosquittos      a broker of one test's own; certificates: an authority, and what it issues
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from badserver import BadServer
from board_support import CALLBACK_MAIN, MakeBoard, settings

# One of these is a hook of pytest's.
from interpreters import interpreter, pytest_generate_tests  # noqa: F401
from waiting import WAIT_S
from wire import Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common import api_connection
from ivota_tools.sim import Board, Proxy

api_connection.TIMEOUT_S = WAIT_S  # a busy machine answers later than an operator waits

_numbers = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One mosquitto for all; each test has a device name of its own."""
    deaths: list[str] = []
    with Broker(tmp_path_factory.mktemp("mosquitto"), "127.0.0.1", 0, deaths.append) as result:
        yield result
    assert not deaths


@pytest.fixture
def name() -> str:
    """A device name that no other test has."""
    return f"d{next(_numbers)}"


@pytest.fixture
def wire(broker: Broker, name: str) -> Iterator[Wire]:
    """The cloud's end, for this test's device."""
    with Wire(broker.port, name) as result:
        yield result


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer() as result:
        yield result


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """Makes a bad network in front of a port of this machine."""
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy("127.0.0.1", port))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def boards() -> Iterator[list[Board]]:
    """Whoever makes a board adds it: each is stopped at the end, and must not have failed."""
    made: list[Board] = []
    yield made
    for board in made:
        board.stop()
        print(f"--- {board.folder.name}", *board.log, sep="\n")
        assert board.failure is None, board.failure


@pytest.fixture
def agent(broker: Broker, name: str, tmp_path: Path, boards: list[Board]) -> MakeBoard:
    """Makes boards, of 32 bits but for `matrix`, with the turnkey agent, formatted and off.

    `files` as Board takes them; `port`: the broker's, or a proxy's; the rest is configuration.
    """

    def make(
        files: Mapping[str, bytes | Path] | None = None, port: int | None = None, **changes: Any
    ) -> Board:
        board = Board(
            tmp_path / f"board{len(boards)}",
            mpy=True,
            config=settings(name, port or broker.port, **changes),
            files=files,
            turns=True,
        )
        boards.append(board)
        board.install()
        return board

    return make


@pytest.fixture
def application(agent: MakeBoard) -> MakeBoard:
    """As `agent`, with an application in place of it that burns firmware itself, no slots."""

    def make(files: Mapping[str, bytes | Path] | None = None, **changes: Any) -> Board:
        return agent({"/main.py": CALLBACK_MAIN, **(files or {})}, **changes)

    return make


@pytest.fixture(scope="session")
def firmware() -> Callable[..., bytes]:
    """Bytes that look like nothing: the same for the same seed."""

    def make(size: int = 60_000, seed: int = 2) -> bytes:
        return random.Random(seed).randbytes(size)

    return make
