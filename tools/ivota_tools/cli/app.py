"""Assemble the command `ivota`: its subcommands, in the order in which `--help` lists them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..api_client import ApiError
from ..common import project_files
from ..common.campaign_options import OptionError
from ..firmware.release import ReleaseError
from . import (
    access,
    backup,
    campaigns,
    cloud,
    ddi,
    device_actions,
    devices,
    enrollment,
    firmware,
    groups,
    release,
    update_actions,
)
from .board import app as board
from .channel import app as channel
from .cloud_config import CloudCommand, ConfigError
from .database import database
from .doctor import doctor
from .sim import app as sim
from .store import store
from .swarm import swarm
from .terminal import AsJson, err, fail, out, print_json
from .users import user
from .webhooks import webhook


def _version(asked: bool) -> None:
    if asked:
        out.print(f"ivota {project_files.version()}")
        raise typer.Exit


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the console and the board running until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Update a simulated board over a bad link and show each step."""
    from ..demo.command import BUILD, main

    code = main(keep=keep, console=err if as_json else None)
    result = BUILD / "demo.json"
    if as_json and result.exists():
        print_json(json.loads(result.read_text()))
    raise typer.Exit(code)


# A table of contents: from a first update to a fleet and its cloud.
CONTENTS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "First steps": {
        "demo": demo,
        "cloud": cloud.cloud,
        "board": board,
        "release": release.release,
        "push": update_actions.push,
        "watch": devices.watch,
        "devices": devices.devices,
    },
    "Firmware": {
        "firmware": firmware.firmware,
        "inspect": firmware.inspect,
        "keygen": firmware.keygen,
        "verify": firmware.verify,
    },
    "Without a server": {"channel": channel},
    "One device": {
        "device": enrollment.device,
        "why": devices.why,
        "attempts": devices.attempts,
        "retry": update_actions.retry,
        "cancel": update_actions.cancel,
        "tag": device_actions.tag,
        "secret": device_actions.secret,
        "accept": device_actions.accept,
        "retire": device_actions.retire,
        "delete": device_actions.delete,
    },
    "Many devices": {"group": groups.group, "campaign": campaigns.campaign},
    "The cloud itself": {
        "intake": cloud.intake,
        "console": cloud.console,
        "health": access.health,
        "doctor": doctor,
        "audit": access.audit,
        "token": access.token,
        "ddi-token": ddi.ddi_token,
        "user": user,
        "webhook": webhook,
        "store": store,
        "backup": backup.backup,
        "restore": backup.restore,
        "database": database,
    },
    "Without boards": {"sim": sim},
}


CLASSES = dict.fromkeys(("cloud", "intake", "console"), CloudCommand)


class _Group(TyperGroup):
    """Report known errors in one sentence with exit code 1; any other error is a bug."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for commands in CONTENTS.values() for name in commands]

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ApiError, ConfigError, OptionError, ReleaseError) as error:
            fail(str(error))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Firmware updates for MicroPython boards."""


sim.command()(swarm)
for panel, commands in CONTENTS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, cls=CLASSES.get(name), rich_help_panel=panel)(command)


if __name__ == "__main__":
    sys.exit(app())
