"""Reports through HAProxy and three nodes of RabbitMQ: the rate, and what a kill loses.

A report counts as lost if RabbitMQ has acknowledged it and the
database lacks it at the end.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from rich.console import Console

from ...load_balancer import balanced
from ...rabbitmq_cluster import HOST, PASSWORD, USER, Cluster, cluster
from ..figures import Figure
from .filled_database import make

CONNECTED_LEAST = 1000  # to measure the memory of one
REPORTS = 9000  # of each measurement
WORKERS = 3
MEMORY_LEAST = 2 << 30  # bytes, for three nodes
PATIENCE_S = 120.0  # without another report in the database
SETTLE_S = 10.0  # for the memory of a new cluster, and of new connections
NOT_MEASURED = "needs 2 GiB of free memory"


def measure(folder: Path, connected: int, console: Console) -> dict[str, Figure]:
    """`connected`: the number of devices."""
    if _free_memory() < MEMORY_LEAST:
        names = ("intake_e2e_speedup_3", "kill_worker_lost", "kill_node_lost")
        return {name: Figure(0, "", "", NOT_MEASURED) for name in names}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the children inherit it
    with ExitStack() as stack:
        rabbit = stack.enter_context(cluster(folder, 3, anonymous=True))
        ports = [node.mqtt_port for node in rabbit.nodes]
        port, balancer = stack.enter_context(balanced(folder, ports))
        pids = [node.process.pid for node in rabbit.nodes if node.process]
        time.sleep(SETTLE_S)
        before = sum(map(_resident, pids)), _resident(balancer.pid)
        devices = stack.enter_context(_devices(port, connected))
        time.sleep(SETTLE_S)
        after = sum(map(_resident, pids)), _resident(balancer.pid)
        console.print(f"{connected:,} devices are connected")
        run = Run(rabbit, devices, make(connected), console)
        rates = {count: run.rate(count) for count in (1, WORKERS)}
        busy = run.busy
        workers = run.losses(lambda processes: processes[0].kill())
        victim = rabbit.nodes[-1]
        nodes = run.losses(lambda processes: rabbit.kill(victim))
    speedup = round(rates[WORKERS] / rates[1], 2)
    each = connected * 1024
    # The memory of a cluster changes by as much as that of a few hundred connections.
    few = "" if connected >= CONNECTED_LEAST else f"needs {CONNECTED_LEAST:,} connected devices"
    return {
        "connected": Figure(connected, "", "devices"),
        "broker_kib_per_device": Figure(round((after[0] - before[0]) / each, 1), "", "KiB", few),
        "balancer_kib_per_device": Figure(round((after[1] - before[1]) / each, 1), "", "KiB", few),
        "intake_e2e_1_reports_per_s": Figure(round(rates[1]), "", "reports/s"),
        "intake_e2e_3_reports_per_s": Figure(round(rates[WORKERS]), "", "reports/s"),
        "intake_e2e_speedup_3": Figure(speedup, "", "times"),
        "intake_e2e_processor": Figure(round(busy, 2), "", "of all cores"),
        "kill_worker_lost": Figure(workers[0], "== 0", "reports"),
        "kill_worker_twice": Figure(workers[1], "", "reports"),
        "kill_node_lost": Figure(nodes[0], "== 0", "reports"),
        "kill_node_twice": Figure(nodes[1], "", "reports"),
    }


class Run:
    """The devices send `REPORTS`, and so many processes store them."""

    def __init__(
        self, rabbit: Cluster, devices: subprocess.Popen[str], url: str, console: Console
    ) -> None:
        hosts = ",".join(f"{HOST}:{node.amqp_port}" for node in rabbit.nodes)
        self._broker = f"amqp://{USER}@{hosts}"
        self._devices, self._url, self._console = devices, url, console
        self._sent = self._lost = self._twice = 0
        self.busy = 0.0  # the share of the processor's time in the last `rate`

    def rate(self, count: int) -> float:
        """Return the reports per second until the last one is in the database."""
        with self._workers(count):
            stat, began = _processor(), time.monotonic()
            self._send()
            self._await_stored()
            seconds = time.monotonic() - began
        now = _processor()
        self.busy = (now[0] - stat[0]) / max(now[1] - stat[1], 1)
        self._console.print(f"{count} processes: {REPORTS / seconds:.0f} reports/s")
        return REPORTS / seconds

    def losses(self, kill: Callable[[list[subprocess.Popen[str]]], None]) -> tuple[int, int]:
        """Kill something after a third; return the reports that are lost, and that are double."""
        with self._workers(WORKERS) as processes:
            self._send(wait=False)
            while self._rows() < self._sent - REPORTS * 2 // 3:
                time.sleep(0.05)
            kill(processes)
            self._acknowledged()
            self._await_stored()
        distinct = self._distinct()
        # Less those of earlier kills.
        lost = self._sent - distinct - self._lost
        twice = self._rows() - distinct - self._twice
        self._lost, self._twice = self._lost + lost, self._twice + twice
        self._console.print(f"lost {lost}, twice {twice}")
        return lost, twice

    @contextmanager
    def _workers(self, count: int) -> Iterator[list[subprocess.Popen[str]]]:
        command = [sys.executable, "-m", f"{__package__}.intake_process", self._url, self._broker]
        environment = os.environ | {"IVOTA_BROKER_PASSWORD": PASSWORD}
        with ExitStack() as stack:
            processes = [
                stack.enter_context(_talking(command, "ready", environment)) for _ in range(count)
            ]
            yield processes

    def _send(self, wait: bool = True) -> None:
        assert self._devices.stdin
        self._sent += REPORTS
        self._devices.stdin.write(f"{REPORTS}\n")
        self._devices.stdin.flush()
        if wait:
            self._acknowledged()

    def _acknowledged(self) -> None:
        assert self._devices.stdout
        if self._devices.stdout.readline() != "acknowledged\n":
            raise RuntimeError("the devices have ended")

    def _rows(self) -> int:
        return self._number("count(*)")

    def _distinct(self) -> int:
        return self._number("count(DISTINCT convert_from(raw, 'UTF8')::json ->> 'n')")

    def _number(self, what: str) -> int:
        with psycopg.connect(self._url) as connection:
            row = connection.execute(f"SELECT {what} FROM reports").fetchone()
        return int(row[0]) if row else 0

    def _await_stored(self) -> None:
        """Wait until every report is stored, or nothing more comes."""
        last, since = -1, time.monotonic()
        while (rows := self._rows()) < self._sent or self._distinct() < self._sent:
            if rows != last:
                last, since = rows, time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                return
            time.sleep(0.1)


@contextmanager
def _devices(port: int, count: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"{__package__}.connected_devices", str(port), str(count)]
    with _talking(command, "connected", None) as process:
        yield process


@contextmanager
def _talking(
    command: list[str], word: str, environment: dict[str, str] | None
) -> Iterator[subprocess.Popen[str]]:
    """Start a process and wait for its word; end its input at the end."""
    process = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    try:
        if process.stdout.readline() != f"{word}\n":
            raise RuntimeError(f"{command[2]} ended with {process.wait()}")
        yield process
        process.stdin.close()
        process.wait(PATIENCE_S)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _free_memory() -> int:
    return 1024 * _kib(Path("/proc/meminfo"), "MemAvailable:")


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process uses."""
    return 1024 * _kib(Path(f"/proc/{pid}/status"), "VmRSS:")


def _kib(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def _processor() -> tuple[int, int]:
    """Return the time that all cores were busy, and the whole time, since the machine started."""
    times = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return sum(times) - times[3] - times[4], sum(times)
