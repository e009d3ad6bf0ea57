"""Define `ivota inspect`, `keygen`, `verify` and `firmware`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..api_client import Client
from ..firmware import release
from . import firmware_views as views
from .terminal import AsJson, Yes, ask_passphrase, fail, out, print_json, reading, say, show, sure


def keygen(
    file: Annotated[
        Path, typer.Argument(help="Private key file to create, for example owner.key.")
    ],
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Do not encrypt the private key.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a key pair for signing firmware.

    The public key is created beside the private key: owner.pub for owner.key.
    Install the public key on the boards. Set IVOTA_PASSPHRASE to skip the passphrase
    prompt for the private key.
    """
    from ..firmware.signing_keys import generate, load_public

    public = generate(file, None if no_passphrase else ask_passphrase(new=True))
    made = load_public(public)
    if as_json:
        print_json({"private": str(file), "public": str(public), "key": made.id})
        return
    say(f"private  {file}: keep this file secret, and keep a backup of it")
    say(f"public   {public}: copy it to the boards, and add its path to `keys` in /ivota.json, or")
    say("         only to `channel.keys` if a cloud uses the private key as --channel-key")
    say(f"key      {made.id}")


def verify(
    file: Annotated[Path, typer.Argument(help="Signed firmware file.")],
    key: Annotated[list[Path], typer.Option(help="Trusted public key; repeatable.")],
    base: Annotated[
        Path | None,
        typer.Option(help="Base firmware of a delta; also verifies the delta's result."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify that a firmware file is signed by a trusted key, as a board does.

    For a patch, the command also verifies the resulting firmware if the patch needs no
    base, or if you specify --base.
    """
    from ..firmware import signed_file
    from ..firmware.signing_keys import load_public

    with reading():
        made = release.inspect(file)
        keys = [load_public(path) for path in key]
        signed_file.verify(file.read_bytes(), keys)
        if base and not made.patch:
            fail(f"{file} is not a delta: omit --base")
        result_too = bool(made.patch and (base or not made.patch.base_size))
        if made.patch and result_too:
            whole = release.apply_patch(file, base)
            inner = signed_file.verify(whole, keys).header
            if (inner.version, inner.kind) != (made.version, made.patch.kind):
                fail(
                    f"{file} is signed as {made.patch.kind} {made.version}, but produces "
                    f"{inner.kind} {inner.version}"
                )
    if as_json:
        print_json(views.release_json(made))
        return
    out.print(views.release_table(made))
    say(f"valid     {file} is signed by a trusted key")
    if result_too:
        say("valid     the resulting firmware is signed by a trusted key")
    elif made.patch:
        say("unknown   the resulting firmware was not verified: add --base")


def inspect(
    file: Annotated[Path, typer.Argument(help="Firmware file or patch, signed or unsigned.")],
    as_json: AsJson = False,
) -> None:
    """Show the details of a firmware file."""
    with reading():
        found = release.inspect(file)
    if as_json:
        print_json(views.release_json(found))
    else:
        out.print(views.release_table(found, every=True))


def firmware(
    delete: Annotated[
        int | None, typer.Option(metavar="#", min=1, help="Delete this firmware and its patches.")
    ] = None,
    failures: Annotated[
        int | None,
        typer.Option(metavar="#", min=1, help="Count the failures of this firmware by reason."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """List or delete uploaded firmware, or count its failures."""
    with Client() as client:
        if failures is not None:
            return show(client.failures(failures), as_json, views.failure_table)
        if delete is None:
            return show(client.firmware(), as_json, views.firmware_table)
        found = next((each for each in client.firmware() if each["id"] == delete), None)
        if found is None:
            fail(f"firmware {delete} does not exist: list the firmware with `ivota firmware`")
        name = f"{found['application'] or 'the firmware'} {found['version']} (number {delete})"
        sure(f"Permanently delete {name}?", yes, "deleted")
        client.delete_firmware(delete)
    show(found, as_json, "{version} deleted".format_map)
