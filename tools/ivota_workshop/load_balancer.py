"""Run HAProxy with deploy/haproxy.cfg in front of brokers of this machine.

`python -m ivota_workshop.load_balancer --port 1880 --to 1891 1892 1893` runs it until Ctrl-C.
"""

from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.toolchain.load_balancer import haproxy

CONFIGURATION = CHECKOUT / "deploy" / "haproxy.cfg"
HOST = "127.0.0.1"
START_S = 60.0


def configuration(
    port: int,
    brokers: Sequence[int],
    certificate: Path | None = None,
    connects_per_s: int | None = None,
) -> str:
    """Return deploy/haproxy.cfg for MQTT ports of this machine.

    Devices connect to `port`, over TLS if there is a certificate, and `connects_per_s` replaces
    the file's limit. The metrics are left out.
    """
    text = CONFIGURATION.read_text().partition("# Only on this")[0]
    tls = f" ssl crt {certificate}" if certificate else ""
    text = re.sub(r"bind :8883 .*", f"bind {HOST}:{port}{tls}", text)
    # Fewer descriptors than a user's limit, which HAProxy would otherwise refuse to start with.
    text = re.sub(r"maxconn \d+", "maxconn 4000", text)
    if connects_per_s is not None:
        text = re.sub(r"rate-limit sessions \d+", f"rate-limit sessions {connects_per_s}", text)
    servers = "".join(
        f"    server rabbit{number} {HOST}:{broker}\n" for number, broker in enumerate(brokers, 1)
    )
    return re.sub(r"(    server .*\n)+", servers, text)


@contextmanager
def balanced(
    folder: Path, brokers: Sequence[int], port: int = 0, connects_per_s: int | None = None
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run HAProxy before MQTT ports; return its port, by default a free one, and its process.

    Raises ToolchainError, or RuntimeError if it does not start.
    """
    if not port:
        with socket.create_server((HOST, 0)) as probe:
            port = probe.getsockname()[1]
    file = folder / "haproxy.cfg"
    file.write_text(configuration(port, brokers, connects_per_s=connects_per_s))
    with (folder / "haproxy.out").open("ab") as out:
        process = subprocess.Popen(
            [*haproxy(), "-db", "-f", str(file)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        _wait(port, process, folder / "haproxy.out")
        yield port, process
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], out: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection((HOST, port), 1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = out.read_text(errors="replace")[-1000:]
                raise RuntimeError(f"HAProxy does not start: {said}") from error
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run HAProxy, without TLS, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=0, help="for the devices")
    parser.add_argument("--to", type=int, nargs="+", required=True, help="MQTT ports of brokers")
    chosen = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    with tempfile.TemporaryDirectory(prefix="ivota-haproxy-") as folder, balanced(
        Path(folder), chosen.to, chosen.port
    ) as (port, _):  # fmt: skip
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        print(f"devices connect to 127.0.0.1:{port}", flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
