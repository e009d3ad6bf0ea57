"""How the command line shows firmware: a release, its patches, and what can be pushed."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..api_client import Json
from ..firmware.release import Release
from .terminal import cell, titled_table
from .times import ago

_UPDATER = re.compile(r"lib/(ivota/|bundlefs\.)")


def release_table(release: Release, every: bool = False) -> Table:
    """`every`: each file of the updater too, which is the same in most bundles."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("kind", release.kind)
    if release.kind == "bundle":
        table.add_row("application", cell(release.application or ""))
        table.add_row("version", cell(release.version or ""))
        table.add_row("files", str(len(release.files)))
        own = [file for file in release.files if every or not _UPDATER.match(file.path)]
        for file in own:
            table.add_row("", cell(f"{file.size:>9,}  {file.path}"))
        rest = sum(file.size for file in release.files) - sum(file.size for file in own)
        if rest:
            table.add_row("", f"{rest:>9,}  lib/ivota/ and lib/bundlefs, the updater")
        table.add_row("archive", f"{release.archive_size:,} bytes")
    elif release.version:
        table.add_row("version", cell(release.version))
    if release.image:
        found_image = release.image
        if release.kind == "esp32-flash":
            table.add_row("inside", "boot loader, partition table, and an application of")
        table.add_row("image", f"{found_image.size:,} bytes")
        table.add_row("chip", found_image.chip)
        about = f"{found_image.project} {found_image.version}".strip()
        table.add_row("describes", cell(f"itself as {about}" if about else "nothing"))
        table.add_row("built", cell(f"{found_image.compiled}, with ESP-IDF {found_image.esp_idf}"))
    if release.patch and release.does:
        found, does = release.patch, release.does
        table.add_row("makes", f"a {found.kind} of {found.result_size:,} bytes")
        base = f"version {found.base_version}, of {found.base_size:,} bytes"
        table.add_row("out of", cell(base if found.base_size else "nothing: it is compressed"))
        table.add_row("copies", f"{does.copied:,} bytes in {does.records:,} records")
        table.add_row("changes", f"{does.changed:,} words of 16 bits in them")
        table.add_row("inserts", f"{does.inserted:,} bytes")
        table.add_row("share", f"{100 * release.size / found.result_size:.2f} % of what it makes")
    table.add_row("payload", f"{release.payload_size:,} bytes")
    if release.signed:
        table.add_row("signed", cell(f"as number {release.signed.sequence}"))
        table.add_row("target", cell(release.signed.target or "none"))
        table.add_row("by key", cell(f"{release.signed.key}; `ivota verify` tells whether it is"))
        if release.signed.time:
            when = time.gmtime(release.signed.time)
            table.add_row("time", time.strftime("%Y-%m-%d %H:%M:%S UTC", when))
    else:
        table.add_row("signed", "no")
    table.add_row("size", f"{release.size:,} bytes")
    table.add_row("md5", release.md5)
    table.add_row("sha256", release.sha256)
    return table


def patch_line(made: Release, whole: Release) -> str:
    """Where a patch lies, and how much it spares."""
    assert made.patch
    what = f"from {made.patch.base_version}" if made.patch.base_size else "compressed"
    return f"patch   {made.path}: {what}, {made.size:,} bytes, {_percent(made, whole)} of the full"


def _percent(made: Release, whole: Release) -> str:
    share = 100 * made.size / whole.size
    return f"{share:.2f} %" if share < 1 else f"{share:.1f} %"


def release_json(release: Release) -> Json:
    return {**dataclasses.asdict(release), "path": str(release.path)}


@contextmanager
def bar(console: Console) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """Gives a bar for each piece of work, named; it is told the share that is done, 0 to 1.

    Nothing is shown where there is no terminal.
    """
    if not console.is_terminal:
        yield lambda what: lambda share: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:

        def begin(what: str) -> Callable[[float], None]:
            task = progress.add_task(escape(what), total=1.0)

            def at(share: float) -> None:
                progress.update(task, completed=share)

            return at

        yield begin


def firmware_table(firmware: list[Json]) -> Table:
    table = titled_table("firmware", "#", "version", "application", "kind", "size", "uploaded")
    for each in firmware:
        table.add_row(
            str(each["id"]),
            cell(each["version"]),
            cell(each["application"] or ""),
            each["kind"],
            f"{each['size']:,}",
            ago(each["uploaded_at"]),
        )
    return table
