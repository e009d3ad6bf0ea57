"""Define `ivota board …`; board_views.py prints the results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ivota_tools.board.acceptance.run_arguments import file_and_path, own_address
from ivota_tools.board.config_check import parse_network, read_config
from ivota_tools.board.errors import BoardError
from ivota_tools.board.install import install as install_on
from ivota_tools.board.mpremote import Mpremote
from ivota_tools.board.removal import removal
from ivota_tools.board.removal import remove as remove_from
from ivota_tools.board.serial_output import lines, printable
from ivota_tools.board.serial_ports import find_port
from ivota_tools.board.status import status as status_of
from ivota_tools.cli import board_views
from ivota_tools.cli.progress_bars import bars
from ivota_tools.cli.terminal import AsJson, err, fail, print_json
from ivota_tools.common.project_files import root, version

app = typer.Typer(no_args_is_help=True, help="Manage a board over its serial port.")

Port = Annotated[
    str | None, typer.Option(help="Serial port. Default: the only board on USB.", metavar="PORT")
]


@app.command()
def install(
    port: Port = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file for the board. Default: keep the one on the board."),
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Copy .py files instead of .mpy files.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace your own boot.py or main.py, and keep the old file as .bak."
        ),
    ] = False,
    reset: Annotated[bool, typer.Option(help="Restart the board afterwards.")] = True,
    as_json: AsJson = False,
) -> None:
    """Install or update ivota and its configuration on a board."""
    with _errors(as_json), bars(err, as_json) as progress:
        # Check the configuration first, so that this needs no board.
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
    clear: Annotated[bool, typer.Option("--clear", help="Allow rejected firmware again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the running version and the update progress of a board.

    The command stops and restarts the board's program. A download in progress
    resumes afterwards.
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
    """Show the output of a board until Ctrl-C, without disturbing the board."""
    with _errors(as_json):
        name = find_port(port)
        try:
            if reset:
                Mpremote(name).reset(settle=False)  # so that no output is lost
            for line in lines(name):
                board_views.show_line(line, as_json)
        except KeyboardInterrupt:
            return


@app.command()
def remove(
    port: Port = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")
    ] = False,
    keep_config: Annotated[
        bool, typer.Option("--keep-config", help="Keep /ivota.json on the board.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete only ivota's own files from a board."""
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


@app.command()
def test(
    port: Port = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file with the network to use. Default: the board's own."),
    ] = None,
    put: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE:/PATH",
            help="Copy a file to the board for the test, for example a certificate; repeatable.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address at which the board reaches this computer. Default: found automatically."
        ),
    ] = None,
    power_command: Annotated[
        str | None,
        typer.Option(
            metavar="CMD", help="Command that switches the board's power off and on again."
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="ESP32 image to install. Default: a copy of the running one."),
    ] = None,
    image_version: Annotated[
        str | None, typer.Option(help="Version that the image reports; required with --image.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP", help="Run only this step and the steps that it needs; repeatable."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Maximum number of seconds for each wait.")] = 300,
    report: Annotated[
        Path, typer.Option(help="Path of the report files, without the extensions .json and .md.")
    ] = Path("board-test"),
    title: Annotated[
        str | None, typer.Option(help="Title of the report. Default: the board's description.")
    ] = None,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore", help="Only restore the files that an interrupted test moved aside."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test updates on a real board and write a report.

    The test starts its own cloud, updates the board over good and bad links,
    resets it, and pushes broken versions. At the end it restores the board's
    files. Steps that the board cannot run are marked as skipped in the report.
    """
    # A cloud takes a second to import, which the other commands need not wait for.
    from ivota_tools.board.acceptance import report as reports
    from ivota_tools.board.acceptance.aside import restore as restore_files
    from ivota_tools.board.acceptance.run import test_board

    with _errors(as_json):
        board = Mpremote(find_port(port))
        if restore:
            back = restore_files(board)
            return print_json({"restored": back}) if as_json else board_views.show_restored(back)
        given = None if config is None else parse_network(config, root())
        if image and not image_version:
            raise BoardError("specify the version of the image with --image-version")
        result = test_board(
            board,
            address=address or own_address(),
            config=given,
            put=[file_and_path(each) for each in put or ()],
            power_command=power_command,
            ask=None if as_json else board_views.ask_person,
            image=image,
            image_version=image_version,
            only=only or (),
            step_s=timeout,
            progress=(lambda told: None) if as_json else board_views.show_step,
        )
        result["title"] = title or result["board"]["machine"]
        result["ivota"] = version()
        paths = reports.write(result, report)
    if as_json:
        print_json(result)
    else:
        board_views.show_test(result, paths)
    if not result["passed"]:
        raise typer.Exit(1)


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        if as_json:
            print_json({"error": str(error)})
        fail(printable(str(error)))
