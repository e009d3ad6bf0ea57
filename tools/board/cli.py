"""`ivota board`: typer commands and rich output; no logic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.text import Text

from ivota_tools.board.files import BoardError, read_config
from ivota_tools.board.found import restarting
from ivota_tools.board.install import Progress as CopyProgress
from ivota_tools.board.install import install as install_on
from ivota_tools.board.mpremote import Mpremote, find_port
from ivota_tools.board.removal import removal
from ivota_tools.board.removal import remove as remove_from
from ivota_tools.board.status import status as status_of
from ivota_tools.board.watch import lines, parse, printable
from ivota_tools.terminal import print_json
from ivota_tools.tree import root

app = typer.Typer(no_args_is_help=True, help="A real board at a serial port.")
out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

Port = Annotated[
    str | None, typer.Option(help="Serial port. Left out: the only board on USB.", metavar="PORT")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def install(
    port: Port = None,
    config: Annotated[
        Path | None,
        typer.Option(help="The board's configuration. Left out: it keeps the one it has."),
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Copy .py instead of .mpy.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a boot.py or main.py of yours; keeps a .bak.")
    ] = False,
    reset: Annotated[bool, typer.Option(help="Start the board when done.")] = True,
    as_json: AsJson = False,
) -> None:
    """Put ivota and its configuration on a board; copies only what differs."""
    with _errors(as_json), _bars(as_json) as progress:
        # Before there is a board: whoever writes one need not plug it in to see it checked.
        given = None if config is None else read_config(config, root())
        result = install_on(
            Mpremote(find_port(port)),
            given,
            root=root(),
            source=source,
            force=force,
            reset=reset,
            progress=progress,
        )
    if as_json:
        return print_json(result)
    _say(f"{_about(result['board'])} at {result['port']}")
    copied, kept = result["copied"], result["kept"]
    if copied:
        rest = f"; {_files(result['unchanged'])} are as they were" if result["unchanged"] else ""
        _say(f"Copied {_files(len(copied))}{rest}.")
    else:
        _say(f"Nothing to copy: {_files(result['unchanged'])} are there already.")
    for name in result["removed"]:
        _say(f"Removed {name}, of an older installation.")
    for name in kept:
        _say(f"Your own file is kept as {name}.")
    if result["active"]:
        _say(f"The update {result['active']} goes on running; this is what it falls back to.")
    _warn_of_fat(result["board"])
    if not reset:
        return _say("The board is stopped. Reset it to start ivota.")
    _say(
        f"The board starts now. Look for {result['device']} in the cloud, or watch it connect "
        f"here: ivota board watch --port {result['port']}"
    )


@app.command()
def status(
    port: Port = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Allow firmware again that was refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what runs on a board and how far it is.

    The program on the board is stopped for this and started again; a download goes on where it
    was.
    """
    with _errors(as_json):
        result = status_of(Mpremote(find_port(port)), root=root(), clear=clear)
    if as_json:
        return print_json(result)
    board = result["board"]
    package = {
        "current": "as it is here",
        "other": "another release than the one here",
        "none": "not installed",
    }
    rows = [("board", _about(board)), ("port", result["port"])]
    rows += [("flash", f"{_kib(board['free'])} free of {_kib(board['size'])}")]
    rows += [("ivota", package[result["package"]])]
    if result["version"] is not None:
        rows += [("runs", f"{result['version']} (from the {result['version_from']})")]
    rows += [("device", result["device"] or "no configuration")]
    if result["broker"]:
        rows += [("broker", result["broker"])]
    rows += _state_rows(result["state"], clear)
    for each in result["checkpoints"]:
        size = each["file_size"] or 1
        rows += [
            ("download", f"{each['version']}: {each['position']} of {size} bytes"
             f" ({100 * each['position'] // size} %)")
        ]  # fmt: skip
    for each in result["partitions"]:
        marks = [word for word in ("running", "boot") if each[word]]
        rows += [("partition", " ".join([f"{each['label']} {_kib(each['size'])}", *marks]))]
    for name, value in rows:
        _say(f"{name:<11}{value}")
    _warn_of_fat(board)


@app.command()
def watch(
    port: Port = None,
    reset: Annotated[bool, typer.Option("--reset", help="Reset the board first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a board prints, until ctrl-C; the board does not notice."""
    with _errors(as_json):
        name = find_port(port)
        try:
            if reset:
                Mpremote(name).reset(settle=False)  # its first lines are wanted
            for line in lines(name):
                _show(line, as_json)
        except KeyboardInterrupt:
            return


@app.command()
def remove(
    port: Port = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_config: Annotated[
        bool, typer.Option("--keep-config", help="Leave /ivota.json on the board.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete ivota's own files from a board, and nothing else."""
    with _errors(as_json):
        board = Mpremote(find_port(port))
        plan = removal(board, root=root(), keep_config=keep_config)
        if not yes and (plan.files or plan.back):
            with restarting(board):
                for path in plan.files:
                    err.print(Text(f"  {printable(path)}"))
                for old, new in plan.back:
                    err.print(Text(f"  {old} becomes {new} again"))
                typer.confirm("Delete these from the board?", abort=True, err=True)
        gone = remove_from(board, plan)
    if as_json:
        return print_json({"port": board.port, "removed": gone, "back": plan.back})
    if not gone:
        return _say("There was nothing of ivota's on the board.")
    _say(f"Removed {_files(len(gone))}. The board runs without ivota now.")


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        _fail(str(error), as_json)


def _fail(message: str, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": message})
    err.print(Text(f"ivota: {printable(message)}", style="red"))
    raise typer.Exit(1)


@contextmanager
def _bars(quiet: bool) -> Iterator[CopyProgress | None]:
    if quiet or not err.is_terminal:
        yield None if quiet else lambda path, _, __: _say(f"copying {path}") if path else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task("looking at the board", total=None)

        def progress(path: str, done: int, total: int) -> None:
            bars.update(task, description=path or "checking", completed=done, total=total)

        yield progress


def _show(line: str | None, as_json: bool) -> None:
    if line is None:
        err.print(
            Text("Nothing from the board yet. If it waits at a prompt, --reset starts it.", "dim")
        )
        return
    event = parse(line)
    now = time.time()
    if as_json:
        found: dict[str, Any] = {"time": round(now, 3)}
        found |= {"event": event.name, **event.fields} if event else {"line": line}
        print(json.dumps(found), flush=True)
        return
    text = Text()
    text.append(time.strftime("%H:%M:%S  ", time.localtime(now)), style="dim")
    if event is None:
        text.append(line, style="dim")
    else:
        bad = any(word in event.name for word in ("fail", "lost", "error", "refused"))
        text.append(f"{event.name:<16}", style="bold red" if bad else "bold green")
        for key, value in event.fields.items():
            text.append(f" {key}=", style="dim")
            text.append(value)
    out.print(text)


def _state_rows(state: dict[str, Any], cleared: bool) -> list[tuple[str, str]]:
    rows = []
    for key in ("active", "previous"):
        if state.get(key):
            rows.append((key, state[key]))
    trial = state.get("trial")
    if trial:
        rows.append(
            (
                "on trial",
                f"{trial.get('version', '?')}: {state.get('starts', 0)} starts, "
                f"{state.get('power_boots', 0)} after power-on",
            )
        )
    if state.get("outbox"):
        rows.append(("unsent", str(state["outbox"])))
    for entry in state.get("rejected") or ():
        rows.append(("refused", " ".join(str(part) for part in entry)))
    if cleared:
        rows.append(("refused", "nothing any more"))
    return rows


def _about(board: dict[str, Any]) -> str:
    return f"MicroPython {board['version']} on {board['machine']}"


def _warn_of_fat(board: dict[str, Any]) -> None:
    if "Fat" in board["file_system"]:
        _say(
            "Warning: this board's file system is FAT, which a power cut during a write can "
            "destroy as a whole. ivota is safe on littlefs."
        )


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _kib(size: int) -> str:
    return f"{size // 1024} KiB"


def _say(text: str) -> None:
    out.print(Text(printable(text)))
