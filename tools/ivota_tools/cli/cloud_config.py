"""The configuration of `ivota cloud`: a file, then the environment, then the command line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "IVOTA_CLOUD"  # of the environment variables
_ARGUMENTS = "ivota.arguments"
# A configuration file is often readable for many, so it names files with secrets instead.
_INSTEAD = {"token": "token_file"}
_NOT_IN_A_FILE = ("config", "help", "as_json", *_INSTEAD)
_SIZE_MOST = 1 << 20  # bytes


class ConfigError(ValueError):
    """The configuration file cannot be used; the message says what to change."""


class CloudCommand(TyperCommand):
    """A command that remembers its arguments, so that it can read its configuration again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        settings = options.get("context_settings") or {}
        options["context_settings"] = {**settings, "auto_envvar_prefix": PREFIX}
        super().__init__(*args, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def load(ctx: typer.Context, file: Path | None) -> Path | None:
    """Make the file's values the defaults of the command's options: a callback of --config.

    Raises ConfigError.
    """
    if file is not None and not ctx.resilient_parsing:
        ctx.default_map = read(file, ctx.command)
    return file


def read_again(ctx: typer.Context) -> dict[str, Any]:
    """Return the options from the current file, environment and command line.

    Raises ConfigError, and typer's exceptions for values that are not valid.
    """
    arguments = list(ctx.meta[_ARGUMENTS])
    again = ctx.command.make_context(ctx.info_name, arguments, parent=ctx.parent)
    return dict(again.params)


def options_of(ctx: typer.Context, file: Path) -> dict[str, Any]:
    """Return the options of `ivota cloud` as this file and the environment give them.

    Raises ConfigError.
    """
    group = ctx.find_root()
    command = group.command.commands["cloud"]  # type: ignore[attr-defined]
    try:
        made = command.make_context("cloud", ["--config", str(file)], parent=group)
    except ConfigError:
        raise
    except Exception as error:  # typer's own errors have no public name
        raise ConfigError(f"{file}: {vars(error).get('message') or error}") from None
    return dict(made.params)


def source(ctx: typer.Context, name: str) -> str:
    """Return where an option's value comes from: file, environment, command line or default."""
    found = ctx.get_parameter_source(name)
    names = {"COMMANDLINE": "command line", "ENVIRONMENT": "environment", "DEFAULT_MAP": "file"}
    return names.get(found.name if found else "", "default")


def keys(command: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key of a configuration file with the option that it sets."""
    for option in command.params:
        if isinstance(option, TyperOption) and option.name not in _NOT_IN_A_FILE:
            yield str(option.name), option


def read(file: Path, command: Any) -> dict[str, Any]:
    """Read a configuration file. Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_SIZE_MOST + 1)
        if len(data) > _SIZE_MOST:
            raise ConfigError(f"{file} is too large to be a configuration file")
        values: dict[str, Any] = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None
    known = dict(keys(command))
    for name, value in values.items():
        if name in _INSTEAD:
            raise ConfigError(
                f"{file} must not contain {name}: write the secret to a file, and set "
                f"{_INSTEAD[name]}"
            )
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{file}: {name} is not a setting{hint}")
        kind = kind_of(known[name])
        if not _is(value, kind):
            raise ConfigError(f"{file}: {name} must be {_ARTICLES[kind]}")
    return values


def kind_of(option: Any) -> str:
    """Return the type of an option's value in JSON's words."""
    if option.multiple:
        return "array"
    if option.is_flag:
        return "boolean"
    return {int: "integer", float: "number"}.get(option.type_descriptor.annotation, "string")


_ARTICLES = {
    "array": "a list of strings",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
}


def _is(value: Any, kind: str) -> bool:
    if kind == "array":
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    kinds: dict[str, Any] = {"integer": int, "number": (int, float), "string": str}
    return isinstance(value, kinds[kind])


def schema(command: Any) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    properties: dict[str, Any] = {}
    for name, option in keys(command):
        kind = kind_of(option)
        found: dict[str, Any] = {"type": kind, "description": option.help or ""}
        if kind == "array":
            found["items"] = {"type": "string"}
        for bound, word in (("min", "minimum"), ("max", "maximum")):
            if (limit := getattr(option, bound)) is not None:
                found[word] = limit
        properties[name] = found
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of ivota cloud",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
