"""Run RabbitMQ nodes on this machine, alone or as a cluster, for tests and benches.

`python -m ivota_workshop.rabbitmq_cluster --mqtt 1891 --amqp 5681` runs three until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ivota_tools.toolchain.rabbitmq import rabbitmq

HOST = "127.0.0.1"
START_S = 120.0
USER, PASSWORD = "boards", "p/w:d %"
PLUGINS = ("rabbitmq_mqtt", "rabbitmq_consistent_hash_exchange", "rabbitmq_auth_backend_http")

_CONF = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}
loopback_users = none
log.console = true
log.console.level = warning
cluster_formation.peer_discovery_backend = classic_config
cluster_partition_handling = pause_minority
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
"""
# Not in rabbitmq.conf, where a colon ends the name of an encryption.
_ADVANCED = """\
[{{rabbit, [{{default_user, <<"{user}">>}}, {{default_pass, <<"{password}">>}},
            {{anonymous_login_user, {anonymous}}}, {{anonymous_login_pass, <<"{password}">>}}]}}].
"""


@dataclass
class Node:
    """A node's folder and loopback ports; `process` is None while it is stopped."""

    name: str
    folder: Path
    mqtt_port: int
    amqp_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def amqp_url(self) -> str:
        """Return the address for `--broker`, without the password."""
        return f"amqp://{USER}@{HOST}:{self.amqp_port}"

    def log(self) -> str:
        return (self.folder / "out").read_text(errors="replace")


@dataclass
class Cluster:
    """`with cluster(folder, 3) as nodes`: RabbitMQ nodes that know each other.

    `settings` are more lines for rabbitmq.conf. With `anonymous`, devices need no password.
    `mqtt_port` and `amqp_port` are those of the first node, and the next node has the next ones.
    By default, all are free ones.
    """

    folder: Path
    settings: str = ""
    anonymous: bool = False
    mqtt_port: int = 0
    amqp_port: int = 0
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._erlang, self._home = rabbitmq()
        self._names_port = _free_port()
        self._names: subprocess.Popen[bytes] | None = None
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)

    def start(self, count: int) -> None:
        """Start nodes and wait until all serve MQTT. Raises RuntimeError with a node's log."""
        run = f"{secrets.token_hex(3)}"
        for number in range(1, count + 1):
            folder = self.folder / f"node{number}"
            folder.mkdir()
            name = f"ivota{run}{number}@localhost"
            mqtt, amqp = (
                port + number - 1 if port else _free_port()
                for port in (self.mqtt_port, self.amqp_port)
            )
            self.nodes.append(Node(name, folder, mqtt, amqp))
        self._names = self._run(self.folder, [str(self._programs / "epmd")], {})
        for node in self.nodes:
            self._write(node)
        for node in self.nodes:
            self.boot(node)
        for node in self.nodes:
            self.wait(node)

    def boot(self, node: Node) -> None:
        """Start a node that is stopped; `wait` for it afterwards."""
        words = "-noinput -s rabbit boot -boot start_sasl -kernel inet_dist_use_interface".split()
        command = [str(self._programs / "erlexec"), *words, "{127,0,0,1}"]
        node.process = self._run(node.folder, command, self._environment(node))

    def wait(self, node: Node) -> None:
        """Wait until a node serves MQTT and AMQP. Raises RuntimeError with its log."""
        deadline = time.monotonic() + START_S
        for port in (node.amqp_port, node.mqtt_port):
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection((HOST, port), 1).close()
                    break
                assert node.process
                if node.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"RabbitMQ does not start: {node.log()[-2000:]}")
                time.sleep(0.1)

    def kill(self, node: Node) -> None:
        """End a node immediately, as a power cut does."""
        _kill(node.process)
        node.process = None

    def shut_down(self, node: Node) -> None:
        """Shut a node down properly, as for a restart."""
        assert node.process
        node.process.terminate()
        node.process.wait(START_S)
        self.kill(node)

    def stop(self) -> None:
        for node in self.nodes:
            self.kill(node)
        _kill(self._names)

    @property
    def _programs(self) -> Path:
        return next(self._erlang.glob("erts-*/bin"))

    def _write(self, node: Node) -> None:
        lines = [_CONF.format(amqp=node.amqp_port, mqtt=node.mqtt_port).rstrip()]
        lines += [
            f"cluster_formation.classic_config.nodes.{number} = {each.name}"
            for number, each in enumerate(self.nodes, 1)
        ]
        (node.folder / "rabbitmq.conf").write_text("\n".join([*lines, self.settings, ""]))
        anonymous = f'<<"{USER}">>' if self.anonymous else "none"
        advanced = _ADVANCED.format(user=USER, password=PASSWORD, anonymous=anonymous)
        (node.folder / "advanced.config").write_text(advanced)
        (node.folder / "plugins").write_text(f"[{','.join(PLUGINS)}].\n")

    def _environment(self, node: Node) -> dict[str, str]:
        # The node's own scripts find their files by installed paths, so they are not used.
        files = {
            "MNESIA_BASE": "data",
            "LOG_BASE": "log",
            "ENABLED_PLUGINS_FILE": "plugins",
            "CONFIG_FILE": "rabbitmq.conf",
            "ADVANCED_CONFIG_FILE": "advanced.config",
            "GENERATED_CONFIG_DIR": "generated",
            "FEATURE_FLAGS_FILE": "flags",
            "PID_FILE": "pid",
        }
        return {
            "ROOTDIR": str(self._erlang),
            "EMU": "beam",
            # With it, a node starts a helper that asks the other nodes.
            "PROGNAME": str(self._programs / "erlexec"),
            "ERL_LIBS": str(self._home / "plugins"),
            # One scheduler: the nodes share a machine with everything else.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "RABBITMQ_HOME": str(self._home),
            "RABBITMQ_PLUGINS_DIR": str(self._home / "plugins"),
            "RABBITMQ_NODENAME": node.name,
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            **{f"RABBITMQ_{name}": str(node.folder / file) for name, file in files.items()},
        }

    def _run(
        self, folder: Path, command: list[str], environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        shared = {
            "BINDIR": str(self._programs),
            "HOME": str(self.folder),  # of the secret that the nodes share
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": HOST,
        }
        with (folder / "out").open("ab") as out:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **shared, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


@contextlib.contextmanager
def cluster(
    folder: Path,
    count: int,
    settings: str = "",
    *,
    anonymous: bool = False,
    mqtt_port: int = 0,
    amqp_port: int = 0,
) -> Iterator[Cluster]:
    """Run `count` nodes for the duration of the block. Raises ToolchainError or RuntimeError."""
    made = Cluster(folder, settings, anonymous, mqtt_port, amqp_port)
    try:
        made.start(count)
        yield made
    finally:
        made.stop()


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Run nodes of RabbitMQ until Ctrl-C; their data is gone afterwards.",
        epilog="Devices need no password there. Never use it outside of this machine.",
    )
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--mqtt", type=int, default=0, help="MQTT port of the first node")
    parser.add_argument("--amqp", type=int, default=0, help="AMQP port of the first node")
    chosen = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    with tempfile.TemporaryDirectory(prefix="ivota-rabbitmq-") as folder, cluster(
        Path(folder), chosen.nodes, anonymous=True, mqtt_port=chosen.mqtt, amqp_port=chosen.amqp
    ) as made:  # fmt: skip
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        for node in made.nodes:
            assert node.process
            print(f"{node.name}: MQTT {node.mqtt_port}, AMQP {node.amqp_port}, "
                  f"process {node.process.pid}")  # fmt: skip
        hosts = ",".join(f"{HOST}:{node.amqp_port}" for node in made.nodes)
        print(
            f"--broker amqp://{USER}@{hosts}, with IVOTA_BROKER_PASSWORD='{PASSWORD}'", flush=True
        )
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
