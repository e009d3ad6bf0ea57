"""The command `ivota`: which commands there are, and in what order `--help` shows them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import (
    access_cli,
    campaign_cli,
    cloud_cli,
    device_cli,
    firmware_cli,
    group_cli,
    release_cli,
    tree,
)
from .board import app as board
from .client_api import ApiError
from .release import ReleaseError
from .sim.cli import app as sim
from .sim.swarm_cli import swarm
from .terminal import fail, out
from .users_cli import user


def _version(asked: bool) -> None:
    if asked:
        out.print(f"ivota {tree.version()}")
        raise typer.Exit


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave console and board running until Ctrl-C.")
    ] = False,
) -> None:
    """Show whole updates of a simulated board, over a bad link."""
    from .demo.play import main

    raise typer.Exit(main(keep=keep))


# A table of contents: from a first update to a fleet and its cloud.
CONTENTS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "First steps": {
        "demo": demo,
        "cloud": cloud_cli.cloud,
        "board": board,
        "release": release_cli.release,
        "push": device_cli.push,
        "watch": device_cli.watch,
        "devices": device_cli.devices,
    },
    "Firmware": {
        "firmware": firmware_cli.firmware,
        "inspect": firmware_cli.inspect,
        "keygen": firmware_cli.keygen,
        "verify": firmware_cli.verify,
    },
    "One device": {
        "why": device_cli.why,
        "attempts": device_cli.attempts,
        "retry": device_cli.retry,
        "cancel": device_cli.cancel,
        "tag": device_cli.tag,
        "secret": device_cli.secret,
    },
    "Many devices": {"group": group_cli.group, "campaign": campaign_cli.campaign},
    "The cloud itself": {
        "health": access_cli.health,
        "audit": access_cli.audit,
        "token": access_cli.token,
        "user": user,
        "backup": cloud_cli.backup,
        "restore": cloud_cli.restore,
    },
    "Without boards": {"sim": sim},
}


class _Group(TyperGroup):
    """Known errors are a sentence and exit code 1; anything else is a bug and shows itself."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for commands in CONTENTS.values() for name in commands]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ApiError, ReleaseError) as error:
            fail(str(error))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which this is."),
    ] = False,
) -> None:
    """Firmware updates for MicroPython boards."""


sim.command()(swarm)
for panel, commands in CONTENTS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)


if __name__ == "__main__":
    sys.exit(app())
