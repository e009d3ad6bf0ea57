"""`ivota release`: a firmware file made of an application, signed, with patches, uploaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..api_client import Client
from ..firmware import release as releases
from ..firmware.mpy_file import architecture
from . import firmware_views as views
from .terminal import AsJson, ask_passphrase, err, fail, out, print_json, reading, say, warn


def release(
    source: Annotated[Path, typer.Argument(help="Folder with app.py, or a ready firmware file.")],
    version: Annotated[
        str | None,
        typer.Option(help="1 to 32 characters. A file that says its version itself needs none."),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write; default: APPLICATION-VERSION.bin, here."),
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="Its name; default: the folder's.")
    ] = None,
    pad_to: Annotated[
        int | None, typer.Option(metavar="BYTES", help="Fill the file up to exactly this size.")
    ] = None,
    mpy: Annotated[bool, typer.Option(help="Compile .py to .mpy.")] = True,
    march: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Compile native and viper functions for this architecture or chip, such as "
            "xtensawin or esp32. Default: their files stay source.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist with other bytes.")
    ] = False,
    key: Annotated[Path | None, typer.Option(help="Sign with this private key.")] = None,
    sequence: Annotated[
        int | None,
        typer.Option(help="The number that is signed: above that of any release before."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Sign for boards whose configuration has this target.")
    ] = None,
    resign: Annotated[
        bool,
        typer.Option(
            "--resign", help="Sign a signed file again under a new number, to go back to it."
        ),
    ] = False,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Write a delta from this one as well: a VERSION whose file lies beside the new "
            "one, a FILE, or VERSION=FILE. Repeatable.",
        ),
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Write it compressed as well.")
    ] = False,
    upload: Annotated[bool, typer.Option("--upload", help="Give all of it to the cloud.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a firmware file of an application folder, sign it, upload it.

    With --from and --compress also what makes the same of less: the cloud gives
    each device the smallest that it can use. The same input gives the same bytes;
    the time that is signed is SOURCE_DATE_EPOCH, else none. A file .ivotaignore in
    the folder names what stays out of the release, by the rules of .gitignore.
    """
    if march is not None:
        march = architecture(march)
    if version is not None:
        for sentence in releases.check_version(version):
            warn(sentence)
    if key is None and (sequence is not None or target or resign):
        fail("--sequence, --target and --resign are for signing: name a private key with --key")
    if key is not None and sequence is None:
        fail("--sequence is missing: a number above that of any release before")
    if not source.exists():
        fail(f"{source} does not exist; name the folder that holds app.py")
    with reading():
        if source.is_dir():
            if version is None:
                fail("--version is missing: say which one this is, as in --version 0.2")
            if resign:
                fail("--resign is for a signed file, not for a folder")
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
                signer=signer,
                replace=overwrite,
                note=warn,
            )
        elif pad_to:
            fail(f"{source} is a file already: it cannot be padded")
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
                    f"{source} is a file already: it can be signed with --key, given to --upload, "
                    "or be what --from and --compress write patches for"
                )
        patches = _patches(made, base or [], compress, signer, version, overwrite)
    shown = {**views.release_json(made), "patches": [views.release_json(each) for each in patches]}
    if upload:
        version = version or made.version
        if not version:
            fail(f"{source} does not say its version: name it with --version")
        with Client() as client, views.bar(err) as bar:
            for each, file in ((made, shown), *zip(patches, shown["patches"], strict=True)):
                at = bar(f"uploading {each.path.name}")
                given = client.upload(each.path, version, application, progress=at)
                file["firmware_id"] = given["firmware"]["id"]
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
    """What --from and --compress ask for, as files beside `made`; with a bar for each."""
    if not bases and not compress:
        return []
    if made.signed and not signer:
        fail(f"{made.path} is signed: a patch for it needs --key and --sequence as well")
    wanted: list[tuple[str, Path | None, str | None]] = []
    for base in bases:
        said, _, named = base.rpartition("=")
        file = Path(named)
        if not said and not file.is_file():
            said, file = named, releases.find_base(named, made)
        elif not file.is_file():
            fail(f"{file} is not a file: the base of a delta is one")
        wanted.append((f"from {said or file.name}", file, said or None))
    if compress:
        wanted.append(("compressed", None, None))
    found = []
    with views.bar(err) as bar:
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
                progress=bar(what),
            )
            if patch:
                found.append(patch)
            else:
                warn(f"{what} it is no smaller than the full firmware: left out")
    return found


def _without_boot_loader(
    source: Path, out_file: Path | None, last: bool, overwrite: bool
) -> Path | None:
    """The file with the application of an image of a whole flash; None where it is none.

    `last`: nothing else is made of it, so that `out_file` is for it.
    """
    found = releases.inspect(source)
    if found.kind != "esp32-flash":
        releases.check_usable(found)
        return None
    place = out_file if last and out_file else source.with_name(f"{source.stem}-app.bin")
    made = releases.cut_application(found, out=place, replace=overwrite)
    warn(
        f"{source} is an image of a whole flash; an update is its application alone, which is in "
        f"{place} now ({made.size:,} bytes)"
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
            fail(f"{source} is a file already: --out is for what is made of it, with --key")
        return releases.inspect(source)
    if out_file is None:
        fail("--out is missing: the file to write")
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
        fail("SOURCE_DATE_EPOCH is not a number of seconds")
    return releases.Signer(load_private(key, ask_passphrase), sequence, target, time)
