"""Define `ivota store`: check an object store, and move firmware there or back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .progress_bars import bars
from .terminal import AsJson, err, fail, print_json, say

store = typer.Typer(
    no_args_is_help=True, help="Check an object store, and copy firmware to or from it."
)


@store.command()
def check(
    url: Annotated[
        str, typer.Argument(metavar="S3-URL", envvar="IVOTA_STORE", help="s3://BUCKET/PREFIX")
    ],
    as_json: AsJson = False,
) -> None:
    """Test an object store: write, read, download by signed URL and delete a small file."""
    with err.status("checking"), _errors():
        from ..cloud.store import store_copy

        length = store_copy.check(url)
    if as_json:
        print_json({"ok": True, "url_length": length})
    else:
        say(f"{url} works; signed URLs have {length} characters")


@store.command()
def copy(
    source: Annotated[
        str, typer.Argument(help="Folder with firmware files (DATA/firmware), or an S3 URL.")
    ],
    to: Annotated[str, typer.Argument(help="Folder or S3 URL to copy the files to.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Afterwards, read all files back and compare them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the firmware files that the destination lacks, even while the cloud is running.

    After an interruption, run the command again: it continues where it stopped.
    """
    with _errors(), tempfile.TemporaryDirectory(prefix="ivota-store-") as scratch:
        from ..cloud.store import store_copy

        one, other = (store_copy.open_place(each, Path(scratch)) for each in (source, to))
        other.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with bars(err, quiet=as_json) as begin:
            done = store_copy.copy(one, other, begin, verify)
    if as_json:
        print_json(done._asdict())
    else:
        say(f"copied {done.copied} files; {done.skipped} were already in {other.name}")


@contextmanager
def _errors() -> Iterator[None]:
    from ..cloud import CloudError

    try:
        yield
    except (CloudError, OSError) as error:
        fail(str(error))
