"""Find MQTT brokers to test the cloud with, on PATH, in Debian or PyPI."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .apt import Apt, AptError
from .cache import cached, say
from .debian import fetch_program
from .programs import run, unpacked
from .suites import from_any_suite, own_suite

PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
AMQTT = "amqtt==0.12.1"
_ERLANG = "usr/lib/erlang"
_RABBITMQ = "usr/lib/rabbitmq/lib"


def nats_server() -> list[str]:
    """Return the command line of the NATS server. Raises ToolchainError."""
    found = shutil.which("nats-server", path=PATHS)
    if found:
        return [found]
    return list(unpacked(cached("nats-server", _fetch_nats) / "amd64", "nats-server"))


def rabbitmq() -> tuple[Path, Path]:
    """Return the folders of Erlang and of RabbitMQ. Raises ToolchainError."""
    root = Path("/")
    if not (root / _RABBITMQ).is_dir():
        root = cached("rabbitmq", _fetch_rabbitmq) / "amd64"
    return root / _ERLANG, next((root / _RABBITMQ).glob("rabbitmq_server-*"))


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


def _fetch_rabbitmq(new: Path) -> None:
    # Erlang starts itself again and so cannot use its own loader: it comes from this machine's
    # suite, to match the machine's C library.
    def attempt(mirror: str, suite: str) -> None:
        with Apt.private(mirror, suite, "amd64") as apt:
            version = apt.unpack("rabbitmq-server", new / "amd64", parts="erlang-", own_libc=False)
        if not list((new / "amd64" / _ERLANG).glob("erts-*/bin/erlexec")):
            raise AptError(f"the erlang of {suite} has no erlexec")
        say(f"RabbitMQ {version} from {suite}")

    from_any_suite("rabbitmq-server", None, new, attempt, (own_suite(),))


def _fetch_amqtt(new: Path) -> None:
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(new), AMQTT),
    )
