"""HTTP: bodies without a token, incomplete requests, and signals in every state."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from ..console.stage import CloudProcess
from ..figures import Figure
from .clients import Peak, half_requests, requests

BODY = 64 << 20  # bytes
FEW = 512  # file descriptors
TOKEN = "ivota_0123456789abcdefghijklmnopqrstuv"


def bodies(folder: Path) -> dict[str, Figure]:
    """Send four bodies in parallel, each of 64 MiB of small objects, without a token."""
    piece = b"{}," * (1 << 18)

    def send(port: int) -> None:
        head = f"POST /api/v1/push HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {BODY}\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
            with contextlib.suppress(OSError):
                link.sendall(f"{head}Content-Type: application/json\r\n\r\n[".encode())
                for _ in range(BODY // len(piece)):
                    link.sendall(piece)
                link.recv(1000)

    with CloudProcess(folder / "data", "--mqtt-port", 0, "--token", TOKEN) as cloud:
        port = httpx.URL(cloud.said["api_url"]).port or 80
        httpx.get(cloud.said["api_url"] + "/healthz")
        with Peak(cloud.process.pid) as peak:
            senders = [threading.Thread(target=send, args=(port,)) for _ in range(4)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
    return {"unauth_body_peak_mib": Figure(round(peak.more, 1), "<= 16", "MiB")}


def silence(folder: Path) -> dict[str, Figure]:
    with CloudProcess(folder / "data", "--mqtt-port", 0, descriptors=FEW) as cloud:
        url = httpx.URL(cloud.said["api_url"])
        taken = []
        with half_requests(url.port or 80, 1000):
            for _ in range(10):
                began = time.monotonic()
                httpx.get(f"{url}/api/v1/health", timeout=60)
                taken.append(1000 * (time.monotonic() - began))
    return {"half_requests_health_ms": Figure(round(max(taken)), "<= 1000", "ms")}


def signals(folder: Path) -> dict[str, Figure]:
    """Measure the time from SIGTERM to the end of the process, in each state."""
    worst = 0.0
    for name, state in STATES.items():
        data = folder / name.replace(" ", "-")
        cloud = CloudProcess(data, "--mqtt-port", 0, descriptors=FEW)
        with state(cloud):
            began = time.monotonic()
            cloud.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                cloud.process.wait(60)
            worst = max(worst, time.monotonic() - began)
            cloud.end(signal.SIGKILL)
    return {"sigterm_s_worst": Figure(round(worst, 1), "<= 10", "s")}


@contextlib.contextmanager
def _locked(cloud: CloudProcess) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(Path(cloud.said["data"], "ivota.db"))) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        # Let a readiness probe wait for the lock, too.
        httpx.get(cloud.said["api_url"] + "/readyz", timeout=60)
        yield


def _port(cloud: CloudProcess) -> int:
    return httpx.URL(cloud.said["api_url"]).port or 80


STATES: dict[str, Callable[[CloudProcess], contextlib.AbstractContextManager[None]]] = {
    "idle": lambda cloud: contextlib.nullcontext(),
    "half requests": lambda cloud: half_requests(_port(cloud), 1000),
    "event streams": lambda cloud: requests(_port(cloud), "/api/v1/events", 500),
    "slow readers": lambda cloud: requests(_port(cloud), "/api/v1/openapi.json", 500),
    "locked database": _locked,
}
