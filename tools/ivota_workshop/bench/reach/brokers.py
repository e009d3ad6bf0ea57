"""Third-party brokers, each started as documented, with MQTT on a loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.toolchain import brokers, mosquitto, node_packages
from ivota_workshop.rabbitmq_cluster import PASSWORD, USER, cluster

START_S = 60.0

MOSQUITTO = """\
{user}
listener {port} 127.0.0.1
allow_anonymous true
"""
NATS = """\
listen: 127.0.0.1:{other}
server_name: reach
jetstream {{ store_dir: "{folder}" }}
mqtt {{ listen: 127.0.0.1:{port} }}
authorization {{ user: "{name}", password: "{word}" }}
"""
AEDES = """\
import {{ createServer }} from "node:net";
import {{ Aedes }} from "{folder}/node_modules/aedes/aedes.js";
const broker = await Aedes.createBroker();
createServer(broker.handle).listen({port}, "127.0.0.1");
"""
AMQTT = """\
import asyncio
from amqtt.broker import Broker
async def main():
    listeners = {{"default": {{"type": "tcp", "bind": "127.0.0.1:{port}"}}}}
    await Broker({{"listeners": listeners}}).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""

Start = Callable[[Path, int], list["Command"]]


@dataclass(frozen=True)
class Command:
    words: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    port: int
    user: str | None
    password: str | None

    @property
    def address(self) -> str:
        """Return the address for `--broker`, without the password."""
        return f"{self.user}@127.0.0.1:{self.port}" if self.user else f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Part:
    """A broker's programs, which `start(folder, port)` returns.

    `drops`: it does not forward `$ota/…`. `slashes`: it treats `.` and `/` in topics alike.
    """

    name: str
    start: Start | None = None
    signs_in: bool = False
    drops: bool = False
    slashes: bool = False

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        """Run a broker. Raises ToolchainError if it is missing and cannot be fetched."""
        assert self.start
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        processes: list[subprocess.Popen[bytes]] = []
        with (folder / "broker.out").open("wb") as out:
            try:
                for command in self.start(folder, port):
                    processes.append(
                        subprocess.Popen(
                            command.words,
                            cwd=folder,
                            env={**os.environ, **command.environment},
                            stdin=subprocess.DEVNULL,
                            stdout=out,
                            stderr=out,
                            start_new_session=True,
                        )
                    )
                self._wait(folder, port, processes)
                words = (USER, PASSWORD) if self.signs_in else (None, None)
                yield Running(port, *words)
            finally:
                for process in reversed(processes):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _wait(self, folder: Path, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            ended = any(process.poll() is not None for process in processes)
            if ended or time.monotonic() > deadline:
                said = (folder / "broker.out").read_text(errors="replace")[-1000:]
                raise RuntimeError(f"{self.name} does not start: {said}")
            time.sleep(0.1)


@dataclass(frozen=True)
class RabbitMq(Part):
    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator[Running]:
        with cluster(folder, 1) as made:
            yield Running(made.nodes[0].mqtt_port, USER, PASSWORD)


def _mosquitto(folder: Path, port: int) -> list[Command]:
    # If root starts it, it switches to a user who cannot read a private folder.
    user = "user root" if os.geteuid() == 0 else ""
    file = _write(folder / "mosquitto.conf", MOSQUITTO.format(port=port, user=user))
    return [Command([*mosquitto(), "-c", str(file)], {})]


def _nats(folder: Path, port: int) -> list[Command]:
    text = NATS.format(port=port, other=_free_port(), folder=folder, name=USER, word=PASSWORD)
    return [Command([*brokers.nats_server(), "-c", str(_write(folder / "nats.conf", text))], {})]


def _aedes(folder: Path, port: int) -> list[Command]:
    file = _write(folder / "start.mjs", AEDES.format(folder=node_packages.aedes(), port=port))
    return [Command(["node", str(file)], {})]


def _amqtt(folder: Path, port: int) -> list[Command]:
    file = _write(folder / "start.py", AMQTT.format(port=port))
    return [Command([sys.executable, str(file)], {"PYTHONPATH": str(brokers.amqtt())})]


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


PARTS = (
    Part("mosquitto", _mosquitto),
    Part("NATS", _nats, signs_in=True),
    RabbitMq("RabbitMQ", slashes=True),
    Part("aedes", _aedes),
    Part("amqtt", _amqtt, drops=True),
)
