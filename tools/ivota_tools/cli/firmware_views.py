"""Render firmware files, their patches and the list of uploaded firmware."""

from __future__ import annotations

import dataclasses
import time

from rich.table import Table

from ..api_client import Json
from ..common.durations import ago
from ..firmware.bundle import UPDATER
from ..firmware.release import Release
from .fitted_table import fitted_table
from .terminal import cell, titled_table


def release_table(release: Release, every: bool = False) -> Table:
    """Render a firmware file; `every` also lists the updater's files, the same in most bundles."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("kind", release.kind)
    if release.kind == "bundle":
        table.add_row("application", cell(release.application or ""))
        table.add_row("version", cell(release.version or ""))
        table.add_row("files", str(len(release.files)))
        own = [file for file in release.files if every or not file.path.startswith(UPDATER)]
        for file in own:
            table.add_row("", cell(f"{file.size:>9,}  {file.path}"))
        rest = sum(file.size for file in release.files) - sum(file.size for file in own)
        if rest:
            table.add_row("", f"{rest:>9,}  {UPDATER}, the updater")
        if release.updater_min:
            table.add_row("updater", f"the board's own, version {release.updater_min} or newer")
        table.add_row("archive", f"{release.archive_size:,} bytes")
    elif release.version:
        table.add_row("version", cell(release.version))
    if release.image:
        found_image = release.image
        if release.kind == "esp32-flash":
            table.add_row("contains", "boot loader, partition table and this application:")
        table.add_row("image", f"{found_image.size:,} bytes")
        table.add_row("chip", found_image.chip)
        about = f"{found_image.project} {found_image.version}".strip()
        table.add_row("project", cell(about or "unknown"))
        table.add_row("built", cell(f"{found_image.compiled} with ESP-IDF {found_image.esp_idf}"))
    if release.patch and release.does:
        found, does = release.patch, release.does
        table.add_row("result", f"{found.kind} of {found.result_size:,} bytes")
        base = f"version {found.base_version} of {found.base_size:,} bytes"
        table.add_row("base", cell(base if found.base_size else "none (compressed firmware)"))
        table.add_row("copies", f"{does.copied:,} bytes in {does.records:,} records")
        table.add_row("changes", f"{does.changed:,} 16-bit words in the copied bytes")
        table.add_row("inserts", f"{does.inserted:,} bytes")
        table.add_row("ratio", f"{100 * release.size / found.result_size:.2f} % of the result")
    table.add_row("payload", f"{release.payload_size:,} bytes")
    if release.signed:
        table.add_row("signed", cell(f"sequence {release.signed.sequence}"))
        table.add_row("target", cell(release.signed.target or "none"))
        table.add_row(
            "key", cell(f"{release.signed.key} (check the signature with `ivota verify`)")
        )
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
    """Return a line with a patch's file and its size relative to the full firmware."""
    assert made.patch
    what = f"from {made.patch.base_version}" if made.patch.base_size else "compressed"
    return f"patch   {made.path}: {what}, {made.size:,} bytes, {_percent(made, whole)} of full"


def _percent(made: Release, whole: Release) -> str:
    share = 100 * made.size / whole.size
    return f"{share:.2f} %" if share < 1 else f"{share:.1f} %"


def release_json(release: Release) -> Json:
    return {**dataclasses.asdict(release), "path": str(release.path)}


def failure_table(failures: list[Json]) -> Table:
    """Render the failures of a firmware across the whole fleet."""
    table = titled_table("failures", "devices", "code", "since", "reason")
    for each in failures:
        code = "" if each["code"] is None else str(each["code"])
        table.add_row(str(each["devices"]), code, cell(each["since"]), cell(each["message"]))
    return table


def firmware_table(firmware: list[Json], width: int | None = None) -> Table:
    """Render uploaded files; the hardware only if a file is for certain hardware."""
    columns = ["#", "version", "application", "hardware", "kind", "size", "uploaded"]
    if not any(each["hardware"] for each in firmware):
        columns.remove("hardware")
    rows = [
        {
            "#": str(each["id"]),
            "version": each["version"],
            "application": each["application"] or "",
            "hardware": each["hardware"] or "",
            "kind": each["kind"],
            "size": f"{each['size']:,}",
            "uploaded": ago(each["uploaded_at"]),
        }
        for each in firmware
    ]
    return fitted_table("firmware", columns, rows, dropped=("size", "uploaded"), width=width)
