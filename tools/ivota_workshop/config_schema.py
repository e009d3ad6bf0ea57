"""Print the JSON Schema of the cloud's configuration file: `> deploy/ivota-cloud.schema.json`."""

from __future__ import annotations

import json

import typer.main

from ivota_tools.cli import app, cloud_config


def text() -> str:
    command = typer.main.get_command(app.app).commands["cloud"]  # type: ignore[attr-defined]
    return json.dumps(cloud_config.schema(command), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")
