"""`ivota inspect`, `keygen`, `verify`, `firmware`: what a firmware file is, and whose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..api_client import Client
from ..firmware import release
from . import firmware_views as views
from .terminal import AsJson, ask_passphrase, fail, out, print_json, reading, say, show, sure


def keygen(
    file: Annotated[Path, typer.Argument(help="The private key to make, such as owner.key.")],
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Do not encrypt it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key pair to sign firmware with.

    The public one goes onto the boards. The other's passphrase is asked for,
    or taken from IVOTA_PASSPHRASE.
    """
    from ..firmware.signing_keys import generate, load_public

    public = generate(file, None if no_passphrase else ask_passphrase(new=True))
    made = load_public(public)
    if as_json:
        print_json({"private": str(file), "public": str(public), "key": made.id})
        return
    say(f"private  {file}: keep it, and a copy, where no one else can read it")
    say(f"public   {public}: put it onto the boards, and into `keys` of /ivota.json")
    say(f"key      {made.id}")


def verify(
    file: Annotated[Path, typer.Argument(help="A signed firmware file.")],
    key: Annotated[list[Path], typer.Option(help="A public key that is trusted; repeatable.")],
    base: Annotated[
        Path | None, typer.Option(help="What a delta builds on: verify what it makes, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a firmware is signed by a trusted key, as a board does.

    What a patch makes is checked as well where it needs no base, or that is
    named with --base.
    """
    from ..firmware import signed_file
    from ..firmware.signing_keys import load_public

    with reading():
        made = release.inspect(file)
        keys = [load_public(path) for path in key]
        signed_file.verify(file.read_bytes(), keys)
        if base and not made.patch:
            fail(f"{file} is no delta: --base is for those")
        result_too = bool(made.patch and (base or not made.patch.base_size))
        if made.patch and result_too:
            whole = release.apply_patch(file, base)
            inner = signed_file.verify(whole, keys).header
            if (inner.version, inner.kind) != (made.version, made.patch.kind):
                fail(f"{file} makes the {inner.kind} {inner.version}, and is signed for another")
    if as_json:
        print_json(views.release_json(made))
        return
    out.print(views.release_table(made))
    say(f"good    {file} is signed by a key that is trusted")
    if result_too:
        say("good    and so is what it makes")
    elif made.patch:
        say("open    whether what it makes is, too: name its --base")


def inspect(
    file: Annotated[Path, typer.Argument(help="Signed or not, whole or a delta.")],
    as_json: AsJson = False,
) -> None:
    """Show what a firmware file is."""
    with reading():
        found = release.inspect(file)
    if as_json:
        print_json(views.release_json(found))
    else:
        out.print(views.release_table(found, every=True))


def firmware(
    delete: Annotated[
        int | None, typer.Option(metavar="#", min=1, help="Delete this one, and its patches.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the firmware that can be pushed, or delete some of it."""
    with Client() as client:
        if delete is None:
            return show(client.firmware(), as_json, views.firmware_table)
        found = next((each for each in client.firmware() if each["id"] == delete), None)
        if found is None:
            fail(f"there is no firmware {delete}: `ivota firmware` lists those that there are")
        sure(f"Delete {found['version']} for good?", yes)
        client.delete_firmware(delete)
    say(f"{found['version']} is deleted")
