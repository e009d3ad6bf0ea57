"""What the commands share: where they print, what they read and ask for, and how they fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType, RenderHook, RenderResult
from rich.control import Control
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ..common.durations import seconds
from ..common.plain_text import plain


class _Safe:
    """A renderable whose text cannot steer the terminal; its style still can."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._shown, options):
            if segment.control:
                yield segment
            else:
                yield Segment(plain(segment.text, lines=True), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._shown)


class _Hook(RenderHook):
    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [each if isinstance(each, Control) else _Safe(each) for each in renderables]


def safe_console(**options: Any) -> Console:
    """Prints what comes from elsewhere without letting it steer the terminal."""
    # A name like `:bug:` stays one.
    made = Console(highlight=False, emoji=False, **options)
    made.push_render_hook(_Hook())
    return made


def cell(text: str, style: str = "") -> Text:
    """Of a table: in one line, whatever it holds, and never read as markup."""
    return Text(plain(text), style)


out = safe_console()
err = safe_console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Found = TypeVar("Found")

NUMBERS = "# % code count devices failed fails good of pushes size".split()


def fail(sentence: str) -> NoReturn:
    """Ends the command with exit code 1."""
    err.print("ivota:", plain(sentence, lines=True), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def warn(sentence: str) -> None:
    err.print("ivota: warning:", plain(sentence), markup=False, soft_wrap=True)


@contextmanager
def reading() -> Iterator[None]:
    """A file that was named and cannot be read ends the command with a sentence."""
    try:
        yield
    except OSError as error:
        fail(f"{error.filename} cannot be read: {error.strerror}")


def say(sentence: str) -> None:
    """Prints a sentence as it is: names in it are no markup, and scripts get it in one line."""
    out.print(plain(sentence), markup=False, soft_wrap=True)


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
    # What JSON leaves as it is, but a terminal may take for more than a letter.
    text = json.dumps(value, ensure_ascii=False)
    safe = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(safe, flush=True)


def span(text: str) -> float:
    """The seconds of a span as it was typed; what is none ends the command."""
    try:
        return seconds(text)
    except ValueError as error:
        fail(str(error))


def sure(question: str, yes: bool) -> None:
    """Ends the command unless somebody says so, or has said so before."""
    try:
        said = yes or typer.confirm(plain(question), err=True)
    except typer.Abort:  # nobody is there to be asked
        said = False
    if not said:
        fail("nothing was deleted: answer y, or say --yes")


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
