"""`ivota sim`: typer commands and their output; no logic."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ivota_tools.api_client import default_data
from ivota_tools.cli.terminal import fail, safe_console
from ivota_tools.toolchain import ToolchainError

app = typer.Typer(no_args_is_help=True, help="A simulated board.")
err = safe_console(soft_wrap=True, stderr=True)


@app.callback()
def _group() -> None:
    """Makes `board` a command of `ivota sim` even while it is the only one."""


@app.command()
def board(
    broker: Annotated[
        str, typer.Option(help="The MQTT broker.", metavar="HOST:PORT")
    ] = "127.0.0.1:1883",
    product: Annotated[str, typer.Option(help="Its product_id.")] = "DEMO",
    device: Annotated[str, typer.Option("--device", "-d", help="Its device_name.")] = "sim-1",
    version: Annotated[str, typer.Option(help="The version it has from the factory.")] = "0.1",
    config: Annotated[
        Path | None,
        typer.Option(help="A board.json, instead of the four above."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where its flash is kept, from one run to the next.")
    ] = None,
    put: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:/PATH",
            help="A file for its flash, as in owner.pub:/owner.pub; repeatable.",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Back to the factory first.")] = False,
    bits: Annotated[int, typer.Option(help="32, as on a real board, or 64.")] = 32,
    heap: Annotated[
        str | None, typer.Option(help="Memory for its programs, as in 112k.", metavar="SIZE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per line.")] = False,
) -> None:
    """Run a simulated board with its console shown; Ctrl-C takes its power away."""
    from littlefs import LittleFSError

    from ivota_tools.sim.board import Board, BoardError
    from ivota_tools.sim.filesystem import FlashError

    if bits not in (32, 64):
        fail(f"--bits is 32 or 64, not {bits}")
    if heap and not re.fullmatch(r"\d+[kKmM]?", heap):
        fail(f"--heap is a number of bytes, as in 112k, not {heap!r}")
    chosen = _given(config) if config else _made(broker, product, device, version)
    files = _files(put or [])
    name = "/".join(str(chosen.get(key, "")) for key in ("product_id", "device_name"))
    place = folder or default_data() / "sim" / re.sub(r"[^\w.-]", "_", name.replace("/", "-"))
    show = _print_json if as_json else _print
    simulated = Board(
        place,
        bits=bits,
        heap=heap,
        config=chosen,
        turns=True,
        # What the simulator itself takes of the heap is for measurements.
        console=lambda line: None if line.startswith("sim: heap ") else show(line),
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        assert simulated.flash
        with _alone(place), simulated:
            if fresh or not (
                simulated.flash.path.exists() and simulated.flash.state_path.exists()
            ):
                simulated.install()
            for path, data in ({"/ivota.json": json.dumps(chosen).encode()} | files).items():
                simulated.write(path, data)
            show(f"sim: {name} is on, with its flash in {place}; Ctrl-C takes its power away")
            simulated.power_on()
            while simulated.on and not stop.wait(0.2):
                pass
    except (BoardError, FlashError, ToolchainError) as error:
        fail(str(error))
    except LittleFSError as error:
        fail(f"its flash cannot take what --put names: {error}")
    except OSError as error:
        fail(f"{place} cannot hold its flash ({error.strerror}): choose another with --folder")
    if simulated.failure:
        fail(simulated.failure)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Two processes on one flash would destroy what is on it."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("a") as file:
        try:
            # The kernel lets go of it however the process ends; the file itself stays.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            fail(
                f"this board is on already, with its flash in {place}: switch it off first, or "
                "choose another --device"
            )
        yield


def _files(put: Sequence[str]) -> dict[str, bytes]:
    """Path on the board → bytes."""
    found = {}
    for each in put:
        file, colon, path = each.rpartition(":")
        if not colon or not file or not path.startswith("/") or path.endswith("/"):
            fail(f"--put is FILE:/PATH, as in owner.pub:/owner.pub, not {each!r}")
        try:
            found[path] = Path(file).read_bytes()
        except OSError as error:
            fail(f"{file} cannot be read ({error.strerror}): --put names a file on this computer")
    return found


def _given(path: Path) -> dict[str, Any]:
    from ivota_tools.board.config import read_config
    from ivota_tools.board.errors import BoardError
    from ivota_tools.common import project_files

    try:
        return dict(json.loads(read_config(path, project_files.root())))
    except BoardError as error:
        fail(str(error))


def _made(broker: str, product: str, device: str, version: str) -> dict[str, Any]:
    host, colon, port = broker.rpartition(":")
    if not colon or not host or not port.isdigit():
        fail(f"--broker is HOST:PORT, not {broker!r}")
    return {
        "product_id": product,
        "device_name": device,
        "version": version,
        "mqtt": {"host": host, "port": int(port)},
    }


def _print(line: str) -> None:
    print(line, flush=True)


def _print_json(line: str) -> None:
    print(json.dumps({"time": time.time(), "line": line}, ensure_ascii=False), flush=True)
