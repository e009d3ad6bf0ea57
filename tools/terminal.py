"""What the commands share: where they print, and how they fail."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def fail(sentence: str) -> NoReturn:
    """Ends the command with exit code 1."""
    err.print("ivota:", sentence, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def warn(sentence: str) -> None:
    err.print("ivota: warning:", sentence, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
