"""Define `ivota sim board`."""

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

from ivota_tools.cli.terminal import fail, safe_console
from ivota_tools.common.api_connection import default_data
from ivota_tools.toolchain import ToolchainError

app = typer.Typer(no_args_is_help=True, help="Run simulated boards.")
err = safe_console(soft_wrap=True, stderr=True)


@app.callback()
def _group() -> None:
    """Keep `board` a subcommand even if it is the only one."""


@app.command()
def board(
    broker: Annotated[
        str, typer.Option(help="MQTT broker.", metavar="HOST:PORT")
    ] = "127.0.0.1:1883",
    product: Annotated[str, typer.Option(help="product_id of the board.")] = "DEMO",
    device: Annotated[
        str, typer.Option("--device", "-d", help="device_name of the board.")
    ] = "sim-1",
    version: Annotated[str, typer.Option(help="Factory version of the board.")] = "0.1",
    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration file; replaces --broker, --product, --device and --version."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder for the flash contents, kept between runs.")
    ] = None,
    put: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:/PATH",
            help="Copy a file to the flash, for example owner.pub:/owner.pub; repeatable.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Reset the board to its factory state first.")
    ] = False,
    bits: Annotated[int, typer.Option(help="Word size: 32, as on a real board, or 64.")] = 32,
    heap: Annotated[
        str | None, typer.Option(help="Heap size, for example 112k.", metavar="SIZE")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each line as a JSON object.")
    ] = False,
) -> None:
    """Run a simulated board and show its output; Ctrl-C cuts the power."""
    from littlefs import LittleFSError

    from ivota_tools.sim.board import Board, BoardError
    from ivota_tools.sim.filesystem import FlashError

    if bits not in (32, 64):
        fail(f"--bits must be 32 or 64, not {bits}")
    if heap and not re.fullmatch(r"\d+[kKmM]?", heap):
        fail(f"--heap must be a number of bytes, for example 112k, not {heap!r}")
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
        # The simulator's own heap use matters only to measurements.
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
            settings = json.dumps(chosen, ensure_ascii=False).encode()
            for path, data in ({"/ivota.json": settings} | files).items():
                simulated.write(path, data)
            own = name.replace("{mac}", simulated.mac)
            show(f"sim: {own} is on; flash in {place}; press Ctrl-C to cut the power")
            simulated.power_on()
            while simulated.on and not stop.wait(0.2):
                pass
    except (BoardError, FlashError, ToolchainError) as error:
        fail(str(error))
    except LittleFSError as error:
        fail(f"the files of --put do not fit on the flash: {error}")
    except OSError as error:
        fail(
            f"cannot store the flash in {place} ({error.strerror}): choose another folder "
            "with --folder"
        )
    if simulated.failure:
        fail(simulated.failure)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Lock the flash: two processes would corrupt it."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("a") as file:
        try:
            # The kernel releases the lock however the process ends; the file itself stays.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            fail(
                f"this board is already on, with its flash in {place}: switch it off first, or "
                "choose another --device"
            )
        yield


def _files(put: Sequence[str]) -> dict[str, bytes]:
    """Return a map from paths on the board to file contents."""
    found = {}
    for each in put:
        file, colon, path = each.rpartition(":")
        if not colon or not file or not path.startswith("/") or path.endswith("/"):
            fail(f"--put must be FILE:/PATH, for example owner.pub:/owner.pub, not {each!r}")
        try:
            found[path] = Path(file).read_bytes()
        except OSError as error:
            fail(f"cannot read {file} ({error.strerror}): --put copies a file from this computer")
    return found


def _given(path: Path) -> dict[str, Any]:
    from ivota_tools.board.config_check import read_config
    from ivota_tools.board.errors import BoardError
    from ivota_tools.common import project_files

    try:
        return dict(json.loads(read_config(path, project_files.root())))
    except BoardError as error:
        fail(str(error))


def _made(broker: str, product: str, device: str, version: str) -> dict[str, Any]:
    host, colon, port = broker.rpartition(":")
    if not colon or not host or not port.isdigit():
        fail(f"--broker must be HOST:PORT, not {broker!r}")
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
