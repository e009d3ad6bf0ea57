"""Define `ivota database`: move a fleet from SQLite to PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from ..common.api_connection import default_data
from .backup import Data
from .progress_bars import bars
from .terminal import AsJson, Yes, err, fail, print_json, say, sure

database = typer.Typer(no_args_is_help=True, help="Move the cloud's database to PostgreSQL.")


@database.callback()
def _group() -> None:
    """Keep `move` a subcommand, although it is the only one."""


@database.command()
def move(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar="IVOTA_DATABASE",
            help="An empty PostgreSQL database: postgresql://USER:PASSWORD@HOST/NAME",
        ),
    ],
    data: Data = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Move all data from SQLite to PostgreSQL. Stop the cloud first.

    If the command is interrupted, run it again. Afterwards, start the cloud with
    --database: the cloud no longer accepts the SQLite file.
    """
    with err.status("starting"):
        from ..cloud import CloudError
        from ..cloud.store import database_move

    folder = data or default_data()
    sure(f"Move the database of {folder} to PostgreSQL?", yes, "moved")
    try:
        with bars(err, quiet=as_json) as begin:
            done = database_move.move(folder, url, begin)
    except CloudError as error:
        fail(str(error))
    if as_json:
        print_json(done._asdict())
        return
    devices = "1 device" if done.devices == 1 else f"{done.devices} devices"
    if done.rows:
        say(f"moved {devices} ({done.rows} rows) to {done.database}")
    else:
        say(f"{done.database} already contains this fleet of {devices}")
