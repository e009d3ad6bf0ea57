"""A mosquitto of a test's own, for what the one that all share does not offer."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from waiting import WAIT_S, wait_until

from ivota_tools.toolchain import mosquitto


@dataclass(frozen=True)
class Mosquitto:
    """`port` is for boards; `open_port` for the cloud's end lets everybody in, without TLS."""

    port: int
    open_port: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(folder: Path, *settings: str) -> Iterator[Mosquitto]:
    """Runs one; `settings` are lines of mosquitto.conf for the boards' port."""
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        port, open_port = (probe.getsockname()[1] for probe in (first, second))
    lines = [
        # Started as root, it becomes a user who may not read a private folder.
        *(["user root"] if os.geteuid() == 0 else []),
        "per_listener_settings true",
        f"listener {port} 127.0.0.1",
        *settings,
        f"listener {open_port} 127.0.0.1",
        "allow_anonymous true",
    ]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([*mosquitto(), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _accepts(open_port), "mosquitto's start")
        assert process.poll() is None, f"mosquitto ended with {process.returncode}"
        yield Mosquitto(port, open_port, process)
    finally:
        process.terminate()
        process.wait(WAIT_S)


def password_line(user: str, password: str) -> str:
    """A line of mosquitto's password file: $7$, PBKDF2 of SHA-512."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    parts = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7$101${'$'.join(parts)}\n"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
