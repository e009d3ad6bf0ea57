"""What the commands share: where they print, what they read and ask for, and how they fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from ..common.durations import seconds

# A name like `:bug:` stays one.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Found = TypeVar("Found")

NUMBERS = "# % code count devices failed fails good of pushes size".split()


def fail(sentence: str) -> NoReturn:
    """Ends the command with exit code 1."""
    err.print("ivota:", sentence, markup=False, soft_wrap=True)
    raise typer.Exit(1)


def warn(sentence: str) -> None:
    err.print("ivota: warning:", sentence, markup=False, soft_wrap=True)


@contextmanager
def reading() -> Iterator[None]:
    """A file that was named and cannot be read ends the command with a sentence."""
    try:
        yield
    except OSError as error:
        fail(f"{error.filename} cannot be read: {error.strerror}")


def say(sentence: str) -> None:
    """Prints a sentence as it is: names in it are no markup, and scripts get it in one line."""
    out.print(sentence, markup=False, soft_wrap=True)


def show(found: Found, as_json: bool, view: Callable[[Found], RenderableType]) -> None:
    """Prints it as JSON, or what `view` makes of it: a table, or a sentence."""
    if as_json:
        print_json(found)
        return
    shown = view(found)
    if isinstance(shown, str):
        say(shown)
    else:
        out.print(shown, markup=False)


def titled_table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    return table


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def span(text: str) -> float:
    """The seconds of a span as it was typed; what is none ends the command."""
    try:
        return seconds(text)
    except ValueError as error:
        fail(str(error))


def ask_secret(what: str, variable: str, new: bool) -> str:
    """From the environment, for scripts, or asked for: twice where it is a new one."""
    given = os.environ.get(variable)
    if given is not None:
        return given
    try:
        return str(typer.prompt(what, hide_input=True, confirmation_prompt=new, err=True))
    except typer.Abort:
        fail(f"no {what.lower()} was given: type one at a terminal, or give it in {variable}")


def ask_passphrase(new: bool = False) -> str:
    """Of a private key."""
    return ask_secret("Passphrase", "IVOTA_PASSPHRASE", new)
