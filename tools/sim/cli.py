"""`ivota sim`: typer commands and their output; no logic."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ivota_tools.client_api import default_data
from ivota_tools.terminal import fail
from ivota_tools.toolchain import ToolchainError

app = typer.Typer(no_args_is_help=True, help="A simulated board.")
err = Console(highlight=False, soft_wrap=True, stderr=True)


@app.callback()
def _group() -> None:
    """Makes `board` a command of `ivota sim` even while it is the only one."""


@app.command()
def board(
    broker: Annotated[
        str, typer.Option(help="The MQTT broker.", metavar="HOST:PORT")
    ] = "127.0.0.1:1883",
    product: Annotated[str, typer.Option(help="product_id")] = "DEMO",
    device: Annotated[str, typer.Option("--device", "-d", help="device_name")] = "sim-1",
    version: Annotated[str, typer.Option(help="The version it has from the factory.")] = "0.1",
    config: Annotated[
        Path | None,
        typer.Option(help="A whole configuration, instead of the four above.", exists=True),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where its flash is kept, from one run to the next.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Back to the factory first.")] = False,
    bits: Annotated[int, typer.Option(help="32, as on a real board, or 64.")] = 32,
    heap: Annotated[str | None, typer.Option(help="Heap as in 112k.", metavar="SIZE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per line.")] = False,
) -> None:
    """Run a simulated board with its console shown; Ctrl-C takes its power away."""
    from ivota_tools.sim.board import Board, BoardError
    from ivota_tools.sim.filesystem import FlashError

    if bits not in (32, 64):
        fail(f"--bits is 32 or 64, not {bits}")
    if heap and not re.fullmatch(r"\d+[kKmM]?", heap):
        fail(f"--heap is a number of bytes, as in 112k, not {heap!r}")
    chosen = _given(config) if config else _made(broker, product, device, version)
    name = "/".join(str(chosen.get(key, "")) for key in ("product_id", "device_name"))
    place = folder or default_data() / "sim" / re.sub(r"[^\w.-]", "_", name.replace("/", "-"))
    show = _print_json if as_json else _print
    simulated = Board(
        place,
        bits=bits,
        heap=heap,
        config=chosen,
        # What the simulator itself takes of the heap is for measurements.
        console=lambda line: None if line.startswith("sim: heap ") else show(line),
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        assert simulated.flash
        if fresh or not (simulated.flash.path.exists() and simulated.flash.state_path.exists()):
            simulated.install()
        else:
            simulated.write("/ivota.json", json.dumps(chosen).encode())
        with simulated:
            show(f"sim: {name} is on, with its flash in {place}; Ctrl-C takes its power away")
            simulated.power_on()
            while simulated.on and not stop.wait(0.2):
                pass
    except (BoardError, FlashError, ToolchainError) as error:
        fail(str(error))
    if simulated.failure:
        fail(simulated.failure)


def _given(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        fail(f"{path} is not JSON: {error}")
    if not isinstance(found, dict):
        fail(f"{path} is not a JSON object")
    return found


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
