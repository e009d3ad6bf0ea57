"""Find MQTT brokers to test the cloud with, on PATH, in Debian or PyPI."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .cache import cached
from .debian import fetch_program
from .program_launch import run, unpacked

PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
AMQTT = "amqtt==0.12.1"


def nats_server() -> list[str]:
    """Return the command line of the NATS server. Raises ToolchainError."""
    found = shutil.which("nats-server", path=PATHS)
    if found:
        return [found]
    return list(unpacked(cached("nats-server", _fetch_nats) / "amd64", "nats-server"))


def amqtt() -> Path:
    """Return a folder of Python modules with amqtt. Raises ToolchainError."""
    return cached("amqtt", _fetch_amqtt)


def _fetch_nats(new: Path) -> None:
    fetch_program(
        "nats-server",
        new,
        command=lambda folder: [*unpacked(folder, "nats-server"), "--version"],
        works=lambda done: "nats-server" in done.stdout,
    )


def _fetch_amqtt(new: Path) -> None:
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(new), AMQTT),
    )
