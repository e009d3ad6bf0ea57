"""Define `ivota channel`: updates from static files, without a server."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..channel import folder as channels
from ..channel import history
from ..channel.index import NAME
from ..channel.outlook import outlook
from ..toolchain import ToolchainError
from . import channel_options as options
from . import channel_views as views
from . import cloud_channel
from .progress_bars import bars
from .terminal import (
    AsJson,
    ask_passphrase,
    err,
    fail,
    out,
    print_json,
    reading,
    say,
    warn,
)

if TYPE_CHECKING:
    from ..firmware.signing_keys import PrivateKey

KEY_VARIABLE = "IVOTA_KEY"

app = typer.Typer(no_args_is_help=True, help="Publish updates as static files, without a server.")
app.add_typer(cloud_channel.app, name="cloud")


@app.command()
def init(
    folder: options.Folder,
    product: Annotated[str, typer.Option(help="product_id in the boards' configuration.")],
    key: options.Key = None,
    valid_days: Annotated[
        int,
        typer.Option(
            min=0,
            help="Days after which the index (channel.json) expires unless you refresh it "
            "(0 = never).",
        ),
    ] = channels.VALID_DAYS,
    as_json: AsJson = False,
) -> None:
    """Create a channel: a folder for any web server, object store or release page."""
    with reading():
        made = channels.Channel.create(folder, product, _private(key), valid_days)
    if as_json:
        print_json(views.index_json(made.index))
        return
    option = f" --key {key}" if key else ""
    say(f"created {folder / NAME}; next: ivota channel publish {folder} FIRMWARE{option}")


@app.command()
def publish(
    folder: options.Folder,
    firmware: Annotated[Path, typer.Argument(help="Firmware file from `ivota release`.")],
    key: options.Key = None,
    track: options.Track = "stable",
    version: options.OwnVersion = None,
    target: options.Target = None,
    sequence: Annotated[
        int | None, typer.Option(help="Sequence number to sign (default: the next one).")
    ] = None,
    share: options.Share = 100,
    not_before: options.NotBefore = None,
    deltas: options.Deltas = channels.DELTAS,
    as_json: AsJson = False,
) -> None:
    """Sign a firmware file, add it and its deltas to a track, and sign the new index."""
    with reading(), bars(err) as begin:
        channel = _open(folder, key)
        channel.publish(
            firmware,
            track=track,
            version=version,
            target=target,
            sequence=sequence,
            share=share,
            not_before=options.unix_time(not_before),
            deltas=deltas,
            progress=begin,
        )
    views.show_index(channel.index, as_json)


@app.command()
def rehearse(
    folder: options.Folder,
    source: Annotated[
        Path, typer.Argument(help="Firmware file from `ivota release`, or a folder with app.py.")
    ],
    key: options.Key = None,
    track: options.Track = "stable",
    version: options.OwnVersion = None,
    target: options.Target = None,
    as_json: AsJson = False,
) -> None:
    """Test a publication: a simulated board updates from a copy of the channel.

    The simulated board starts with the release that the channel offers now. It
    downloads, verifies, tries and confirms the new version. Nothing in the folder
    changes.
    """
    from ..channel.rehearsal import RehearsalError
    from ..channel.rehearsal import rehearse as run
    from ..firmware.release import pack

    steps: list[str] = []
    with reading(), tempfile.TemporaryDirectory(prefix="ivota-release-") as name:
        private = _private(key)
        os.environ.pop("IVOTA_PASSPHRASE", None)  # the application on the board must not see it
        if source.is_dir():
            if version is None:
                fail("--version is missing: add it, for example --version 0.2")
            built = Path(name) / "firmware.bin"
            pack(source, version, out=built, application=source.resolve().name, note=warn)
            source = built
        try:
            note = steps.append if as_json else say
            run(folder, private, source, track=track, version=version, target=target, say=note)
        except (RehearsalError, ToolchainError) as error:
            fail(str(error))
    if as_json:
        print_json({"steps": steps})


@app.command()
def withdraw(
    folder: options.Folder,
    version: options.Version,
    key: options.Key = None,
    track: options.Track = "stable",
    as_json: AsJson = False,
) -> None:
    """Withdraw a release: sign the previous release again, so that boards return to it."""
    with reading():
        channel = _open(folder, key)
        channel.withdraw(version, track=track)
    views.show_index(channel.index, as_json)


@app.command()
def share(
    folder: options.Folder,
    version: options.Version,
    percent: Annotated[int, typer.Argument(help="Percentage of boards that get this version.")],
    key: options.Key = None,
    track: options.Track = "stable",
    as_json: AsJson = False,
) -> None:
    """Offer a release to more or fewer boards; boards that already have it keep it."""
    with reading():
        channel = _open(folder, key)
        channel.roll_out(version, percent, track=track)
    views.show_index(channel.index, as_json)


@app.command()
def promote(
    folder: options.Folder,
    version: options.Version,
    key: options.Key = None,
    source: Annotated[
        str, typer.Option("--from", help="Track that offers the version now.")
    ] = "beta",
    track: Annotated[
        str, typer.Option("--to", help="Track that will offer the version.")
    ] = "stable",
    as_json: AsJson = False,
) -> None:
    """Promote a release: offer it to all boards of another track as well."""
    with reading():
        channel = _open(folder, key)
        channel.promote(version, source=source, track=track)
    views.show_index(channel.index, as_json)


@app.command()
def refresh(
    folder: options.Folder,
    key: options.Key = None,
    above: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="SERIAL",
            help="Highest serial number that boards have read; the new index gets a higher one.",
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Sign the index (channel.json) again before it expires, with the same releases."""
    with reading():
        channel = _open(folder, key)
        channel.refresh(above)
    views.show_index(channel.index, as_json)


@app.command()
def status(
    folder: options.Folder,
    public_key: Annotated[
        Path | None, typer.Option(help="Public key to verify the index with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a channel's releases, and check that its files are intact."""
    with reading():
        index = channels.load(folder, public_key)
        problems = channels.problems(folder, index)
    if as_json:
        print_json({**views.index_json(index), "problems": problems})
    else:
        views.show_index(index, as_json)
    for sentence in problems:
        warn(sentence)
    if problems:
        raise typer.Exit(1)


@app.command()
def diff(
    folder: options.Folder,
    other: Annotated[
        Path | None,
        typer.Argument(help="An earlier copy of the folder, or of its channel.json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict which updates boards will install. With an earlier copy, show only the changes."""
    with reading():
        index = channels.load(folder, None)
        known = history.read(folder)
        steps = outlook(index, known)
        if other:
            before = channels.load(other if other.is_dir() else other.parent, None, other)
            old = outlook(before, known)
            steps = [step for step in steps if step not in old]
    if as_json:
        print_json([views.step_json(step) for step in steps])
        return
    if not steps:
        say("no change for any board")
        return
    out.print(views.step_table(steps))


def _private(key: Path | None) -> PrivateKey:
    from ..firmware.signing_keys import load_private, parse_private

    # No program that this one starts gets the key.
    given = os.environ.pop(KEY_VARIABLE, "")
    if key:
        return load_private(key, ask_passphrase)
    if not given:
        fail(f"no private key given: add --key, or set {KEY_VARIABLE} to the text of the key")
    return parse_private(given.encode(), KEY_VARIABLE, ask_passphrase)


def _open(folder: Path, key: Path | None) -> channels.Channel:
    return channels.Channel(folder, _private(key), warn)
