"""Define `ivota backup` and `ivota restore`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.api_connection import default_data
from ..common.progress import Begin
from .cloud_options import Database
from .progress_bars import bars
from .terminal import AsJson, Yes, err, fail, print_json, say, sure, warn

if TYPE_CHECKING:
    from ..cloud.store.backup import Copied

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Data directory of the cloud (default: ~/.local/share/ivota)."),
]

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="S3-URL",
        envvar="IVOTA_STORE",
        help="Object store with the firmware files, if they are not in the data directory.",
    ),
]


def backup(
    folder: Annotated[
        Path, typer.Argument(help="Destination folder; can already contain an older backup.")
    ],
    data: Data = None,
    database: Database = None,
    store: StoreOption = None,
    as_json: AsJson = False,
) -> None:
    """Back up the cloud's database and firmware, even while the cloud is running."""
    with err.status("starting"):
        from ..cloud.store.backup import back_up

    _copy(
        lambda begin: back_up(data or default_data(), database, folder, begin, store),
        "backed up to",
        "new firmware",
        as_json,
    )


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder written by `ivota backup`.")],
    data: Data = None,
    database: Database = None,
    store: StoreOption = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup. Stop the cloud first.

    The command never overwrites a database file. In PostgreSQL, it replaces the
    tables, so it asks first.
    """
    if database is not None:
        sure("Replace all tables in PostgreSQL with the backup?", yes, "restored")
    with err.status("starting"):
        from ..cloud.store.backup import restore as put_back

    _copy(
        lambda begin: put_back(folder, data or default_data(), database, begin, store),
        "restored",
        "firmware",
        as_json,
    )


def _copy(copy: Callable[[Begin], Copied], did: str, what: str, as_json: bool) -> None:
    from ..cloud import CloudError

    try:
        with bars(err) as begin:
            done = copy(begin)
    except CloudError as error:
        fail(str(error))
    if as_json:
        print_json({**done._asdict(), "database": str(done.database)})
    else:
        files = f"{done.firmware} {what} file{'' if done.firmware == 1 else 's'}"
        say(f"{did} {done.database}, with {files}")
        if done.elsewhere:
            warn(
                f"this backup has no firmware: the firmware is in {done.elsewhere}. "
                "Rely on the bucket's versioning and replication, or add --store to copy the files"
            )
        if done.paused:
            warn(
                "paused these campaigns, which were running when the backup was made: "
                + ", ".join(done.paused)
            )
