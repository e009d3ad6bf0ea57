"""`ivota board`: what can be typed; views.py shows what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ivota_tools.board.config import read_config
from ivota_tools.board.errors import BoardError
from ivota_tools.board.install import install as install_on
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.board.removal import removal
from ivota_tools.board.removal import remove as remove_from
from ivota_tools.board.serial_output import lines, printable
from ivota_tools.board.serial_ports import find_port
from ivota_tools.board.status import status as status_of
from ivota_tools.cli import board_views
from ivota_tools.cli.terminal import AsJson, fail, print_json
from ivota_tools.common.project_files import root

app = typer.Typer(no_args_is_help=True, help="A real board at a serial port.")

Port = Annotated[
    str | None, typer.Option(help="Serial port. Left out: the only board on USB.", metavar="PORT")
]


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
    with _errors(as_json), board_views.bar(as_json) as progress:
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
    board_views.show_install(result)


@app.command()
def status(
    port: Port = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Allow firmware again that was refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what runs on a board and how far it is.

    The program on the board is stopped for this and started again; a download
    goes on where it was.
    """
    with _errors(as_json):
        result = status_of(Mpremote(find_port(port)), root=root(), clear=clear)
    if as_json:
        return print_json(result)
    board_views.show_status(result)


@app.command()
def watch(
    port: Port = None,
    reset: Annotated[bool, typer.Option("--reset", help="Reset the board first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a board prints, until Ctrl-C; the board does not notice."""
    with _errors(as_json):
        name = find_port(port)
        try:
            if reset:
                Mpremote(name).reset(settle=False)  # its first lines are wanted
            for line in lines(name):
                board_views.show_line(line, as_json)
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
            with board.restart_on_failure():
                board_views.show_removal(plan)
                typer.confirm("Delete these from the board?", abort=True, err=True)
        gone = remove_from(board, plan)
    if as_json:
        return print_json({"port": board.port, "removed": gone, "back": plan.back})
    board_views.show_removed(gone)


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        if as_json:
            print_json({"error": str(error)})
        fail(printable(str(error)))
