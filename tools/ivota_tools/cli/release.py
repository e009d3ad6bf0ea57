"""Define `ivota release`: build, sign, patch and upload firmware."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from ..api_client import Client
from ..common import project_files
from ..firmware import release as releases
from ..firmware.mpy_file import architecture
from . import firmware_views as views
from .progress_bars import bars
from .terminal import AsJson, ask_passphrase, err, fail, out, print_json, reading, say, warn


class Updater(str, enum.Enum):
    INCLUDE = "include"
    KEEP = "keep"


def release(
    source: Annotated[
        Path, typer.Argument(help="Folder with app.py, or an existing firmware file.")
    ],
    version: Annotated[
        str | None,
        typer.Option(
            help="Version, 1 to 32 characters. Optional for a file that contains its version."
        ),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Output file (default: APPLICATION-VERSION.bin in the current folder)."
        ),
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="Name of the application (default: the folder's name).")
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            help="With --upload: allow the firmware only on this hardware, such as rev-b."
        ),
    ] = None,
    pad_to: Annotated[
        int | None, typer.Option(metavar="BYTES", help="Pad the file to exactly this size.")
    ] = None,
    mpy: Annotated[bool, typer.Option(help="Compile .py to .mpy.")] = True,
    march: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Compile native and viper functions for this architecture or chip, such as "
            "xtensawin or esp32. Default: leave files with such functions uncompiled.",
        ),
    ] = None,
    updater: Annotated[
        Updater,
        typer.Option(
            help="include: the bundle replaces the board's updater as well. keep: the bundle "
            "contains only the application, and the board keeps its own updater, for example "
            "one that is frozen into its firmware."
        ),
    ] = Updater.INCLUDE,
    updater_min: Annotated[
        str | None,
        typer.Option(
            "--updater-min",
            metavar="VERSION",
            help="With --updater keep: the oldest updater that the application needs (default: "
            "this version of ivota). Boards with an older one reject the bundle.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite existing files that differ.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="Sign with this private key.")] = None,
    sequence: Annotated[
        int | None,
        typer.Option(help="Sequence number to sign; must be higher than in any earlier release."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Sign for boards with this target in their configuration.")
    ] = None,
    resign: Annotated[
        bool,
        typer.Option(
            "--resign",
            help="Re-sign an old release with a new sequence number, to roll back to it.",
        ),
    ] = False,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Also write a delta from this release: a VERSION whose file is in the output "
            "folder, a FILE, or VERSION=FILE. Repeatable.",
        ),
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Also write a compressed file.")
    ] = False,
    upload: Annotated[
        bool, typer.Option("--upload", help="Upload all files to the cloud.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a firmware file from an application folder, and optionally sign and upload it.

    --from and --compress also write smaller files; the cloud sends each device the
    smallest file that it can use. Builds are reproducible: the signature has a
    timestamp only if SOURCE_DATE_EPOCH is set. To exclude files from the release,
    list them in .ivotaignore, with the syntax of .gitignore.
    """
    if march is not None:
        march = architecture(march)
    if version is not None:
        for sentence in releases.check_version(version):
            warn(sentence)
    if key is None and (sequence is not None or target or resign):
        fail("--sequence, --target and --resign need a private key: add --key")
    if key is not None and sequence is None:
        fail("--sequence is missing: use a number higher than in any earlier release")
    if updater is Updater.KEEP:
        updater_min = updater_min or project_files.version()
    elif updater_min:
        fail("--updater-min needs --updater keep")
    if not source.exists():
        fail(f"{source} does not exist: specify the folder that contains app.py")
    with reading():
        if source.is_dir():
            if version is None:
                fail("--version is missing: add it, for example --version 0.2")
            if resign:
                fail("--resign needs a signed file, not a folder")
            name = application or source.resolve().name
            signer = _signer(key, sequence, target)
            made = releases.pack(
                source,
                version,
                out=out_file or releases.default_out(name, version),
                application=name,
                pad_to=pad_to,
                mpy=mpy,
                march=march,
                updater_min=updater_min,
                signer=signer,
                replace=overwrite,
                note=warn,
            )
        elif pad_to or updater_min:
            option = "--pad-to" if pad_to else "--updater keep"
            fail(f"{source} is already a firmware file: {option} needs a folder")
        else:
            signer = _signer(key, sequence, target)
            cut = _without_boot_loader(source, out_file, signer is None, overwrite)
            if cut:
                source, out_file = cut, out_file if signer else None
            made = _ready_file(source, out_file, version, signer, resign, overwrite)
            for sentence in releases.warnings(made):
                warn(sentence)
            if not key and not upload and not base and not compress and not cut:
                fail(
                    f"{source} is already a firmware file: add --key, --upload, --from "
                    "or --compress"
                )
        patches = _patches(made, base or [], compress, signer, version, overwrite)
    shown = {**views.release_json(made), "patches": [views.release_json(each) for each in patches]}
    if upload:
        version = version or made.version
        if not version:
            fail(f"{source} does not contain its version: add --version")
        told = {*releases.check_version(version), *releases.warnings(made)}
        news: dict[str, None] = {}  # each once: a patch has the same as its result
        with Client() as client, bars(err) as begin:
            for each, file in ((made, shown), *zip(patches, shown["patches"], strict=True)):
                at = begin(f"uploading {each.path.name}", each.size)
                given = client.upload(
                    each.path, version, application, hardware=hardware, progress=at
                )
                file["firmware_id"] = given["firmware"]["id"]
                news.update(dict.fromkeys(given["warnings"]))
        for sentence in news:
            if sentence not in told:
                warn(sentence)
    if as_json:
        print_json(shown)
        return
    out.print(views.release_table(made))
    say(f"file    {made.path}")
    for each in patches:
        say(views.patch_line(each, made))
    if upload:
        say(f"uploaded; next: ivota push {version} --device PRODUCT/NAME")


def _patches(
    made: releases.Release,
    bases: list[str],
    compress: bool,
    signer: releases.Signer | None,
    version: str | None,
    overwrite: bool,
) -> list[releases.Release]:
    """Write the patches for --from and --compress next to `made`, with a progress bar for each."""
    if not bases and not compress:
        return []
    if made.signed and not signer:
        fail(f"{made.path} is signed: its patches also need --key and --sequence")
    wanted: list[tuple[str, Path | None, str | None]] = []
    for base in bases:
        said, _, named = base.rpartition("=")
        file = Path(named)
        if not said and not file.is_file():
            said, file = named, releases.find_base(named, made)
        elif not file.is_file():
            fail(f"{file} is not a file: --from needs the firmware file of an earlier release")
        wanted.append((f"from {said or file.name}", file, said or None))
    if compress:
        wanted.append(("compressed", None, None))
    found = []
    with bars(err) as begin:
        for what, base_file, base_version in wanted:
            name = base_version
            if base_file and not name:
                name = releases.inspect(base_file).version
            patch = releases.make_patch(
                made,
                base_file,
                out=releases.patch_out(made.path, name),
                signer=signer,
                base_version=base_version,
                version=version,
                replace=overwrite,
                progress=begin(what),
            )
            if patch:
                found.append(patch)
            else:
                warn(f"{what}: skipped, because the patch is not smaller than the full firmware")
    return found


def _without_boot_loader(
    source: Path, out_file: Path | None, last: bool, overwrite: bool
) -> Path | None:
    """Extract the application from a whole-flash image; return None for any other file.

    If `last` is true, no further file is made from it, and `out_file` is its name.
    """
    found = releases.inspect(source)
    if found.kind != "esp32-flash":
        releases.check_usable(found)
        return None
    place = out_file if last and out_file else source.with_name(f"{source.stem}-app.bin")
    made = releases.cut_application(found, out=place, replace=overwrite)
    warn(
        f"{source} is an image of the whole flash, but an update needs only its application: "
        f"wrote that to {place} ({made.size:,} bytes)"
    )
    return place


def _ready_file(
    source: Path,
    out_file: Path | None,
    version: str | None,
    signer: releases.Signer | None,
    resign: bool,
    overwrite: bool,
) -> releases.Release:
    if signer is None:
        if out_file:
            fail(f"{source} is already a firmware file: use --out only with --key, to sign it")
        return releases.inspect(source)
    if out_file is None:
        fail("--out is missing: specify the file to write")
    return releases.sign(
        source, signer, out=out_file, version=version, again=resign, replace=overwrite
    )


def _signer(key: Path | None, sequence: int | None, target: str | None) -> releases.Signer | None:
    if key is None or sequence is None:
        return None
    from ..firmware.signing_keys import load_private

    try:
        time = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    except ValueError:
        fail("SOURCE_DATE_EPOCH must be a number of seconds")
    return releases.Signer(load_private(key, ask_passphrase), sequence, target, time)
