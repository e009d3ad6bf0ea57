"""The name of a device as an argument of a command, completed by the shell."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import ApiError, Client

COMPLETED_MOST = 100  # names that shell completion offers


def complete_name(incomplete: str) -> list[str]:
    """Complete the name of a device for the shell; an unreachable cloud completes nothing."""
    try:
        with Client() as client:
            found = [each["device"] for each in client.devices()]
    except ApiError:
        return []
    names = [*found, *(name.partition("/")[2] for name in found)]
    return [name for name in names if name.startswith(incomplete)][:COMPLETED_MOST]


OneDevice = Annotated[
    str | None, typer.Argument(help="PRODUCT/NAME, or just NAME.", autocompletion=complete_name)
]
DeviceName = Annotated[
    str, typer.Argument(help="PRODUCT/NAME, or just NAME.", autocompletion=complete_name)
]
