"""Shared helpers of the commands: output, prompts and errors."""

from __future__ import annotations

import getpass
import json
import os
import warnings
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
    """Wrap a renderable so that its text cannot control the terminal; styles still work."""

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
    """Create a console on which untrusted text cannot control the terminal."""
    # Without emoji codes: a name such as `:bug:` is printed as it is.
    made = Console(highlight=False, emoji=False, **options)
    made.push_render_hook(_Hook())
    return made


def cell(text: str, style: str = "") -> Text:
    """Return a table cell with `text` in one line, never interpreted as markup."""
    return Text(plain(text), style)


out = safe_console()
err = safe_console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")]
Found = TypeVar("Found")

NUMBERS = "# % code count devices done failed fails pushes remaining size".split()


def fail(sentence: str) -> NoReturn:
    """Print an error and exit with code 1."""
    err.print("ivota:", plain(sentence, lines=True), markup=False, soft_wrap=True)
    raise typer.Exit(1)


def warn(sentence: str) -> None:
    err.print("ivota: warning:", plain(sentence), markup=False, soft_wrap=True)


@contextmanager
def reading() -> Iterator[None]:
    """Turn a failure to read a file into an error message."""
    try:
        yield
    except OSError as error:
        fail(f"cannot read {error.filename}: {error.strerror}")


def say(sentence: str) -> None:
    """Print a sentence in one line, for scripts, without interpreting markup."""
    out.print(plain(sentence), markup=False, soft_wrap=True)


def show(found: Found, as_json: bool, view: Callable[[Found], RenderableType]) -> None:
    """Print `found` as JSON, or as the table or sentence that `view` returns."""
    if as_json:
        print_json(found)
        return
    shown = view(found)
    if isinstance(shown, str):
        say(shown)
    elif isinstance(shown, Table) and not shown.row_count and isinstance(shown.title, str):
        say(f"no {shown.title.partition(' (')[0]}")
    else:
        out.print(shown, markup=False)


def titled_table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    return table


def print_json(value: Any) -> None:
    # JSON does not escape every character that could control a terminal.
    text = json.dumps(value, ensure_ascii=False)
    safe = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(safe, flush=True)


def span(text: str) -> float:
    """Parse a duration in seconds; an invalid one ends the command."""
    try:
        return seconds(text)
    except ValueError as error:
        fail(str(error))


def sure(question: str, yes: bool, done: str = "changed") -> None:
    """Ask for confirmation unless `yes`; end the command if it is refused."""
    try:
        said = yes or typer.confirm(plain(question), err=True)
    except typer.Abort:  # no terminal to ask at
        said = False
    if not said:
        fail(f"nothing was {done}: answer y, or use --yes")


def ask_secret(what: str, variable: str, new: bool, empty: bool = False) -> str:
    """Return a secret from the environment, or prompt for `what`: twice if it is new.

    `empty` accepts no secret at all.
    """
    given = os.environ.get(variable)
    if given is not None:
        return given
    try:
        default, prompt = "" if empty else None, what[0].upper() + what[1:]
        with warnings.catch_warnings():
            # Without a terminal, there is no echo to warn of.
            warnings.simplefilter("ignore", getpass.GetPassWarning)
            return str(typer.prompt(prompt, default, True, new, show_default=False, err=True))
    except typer.Abort:
        fail(f"no {what} given: run the command in a terminal, or set {variable}")


def ask_passphrase(new: bool = False) -> str:
    """Return the passphrase of a private key."""
    return ask_secret("passphrase", "IVOTA_PASSPHRASE", new)
