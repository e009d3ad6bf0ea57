"""Simulate thousands of devices in one process, without MicroPython.

Each device has its own connection to the broker, downloads by Range on one HTTP connection, checks
the MD5 and reports like a board. Some are slow; some fail their trial (-5) until they are
`mended`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .swarm_mqtt import Link

PIECE = 51200  # bytes of one Range
HTTP_S = 60.0  # for a connection, and for each answer
AGAIN_S = 1.0  # before a lost report is repeated
# As on a board (lib/ivota): the waits before a reconnection double, each is drawn from its upper
# half, and a session longer than the longest wait counts as a success.
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 300.0
SPREAD = 0.125  # each interval is longer or shorter by up to this share
INTERVAL_LEAST_S, INTERVAL_MOST_S = 10, 86400  # of what a board accepts from the cloud
PING_S = 60.0
MESSAGE_MOST = 4096  # bytes; only boards of ivota report it, and only to an ivota cloud
CONNECTS = 200  # at a time: a broker's queue for new connections is short


@dataclass(frozen=True)
class Options:
    """The options of a swarm. Shares are parts of its devices, durations are in seconds."""

    count: int
    host: str = "127.0.0.1"
    port: int = 1883
    product: str = "SWARM"
    version: str = "0.1"
    failing: float = 0.0
    slow: float = 0.0
    slow_s: float = 2.0
    interval_s: float = 60.0
    spread: float = SPREAD
    seed: int = 1


@dataclass
class Device:
    """One device; `log` gets ("push" | "done" | "answer", device, message)."""

    name: str
    version: str
    failing: bool
    slow_s: float
    product: str
    log: Callable[[str, Device, dict[str, Any]], None]
    link: Link | None = None
    ivota_cloud: bool = False  # whether the cloud has said in this session that it is ivota
    told_s: int | None = None  # the interval of reports in its last answer
    wake: asyncio.Future[None] | None = None  # done when the interval has changed
    busy: str | None = None
    become: str | None = None  # the version that was pushed and runs now
    settled: str | None = None  # the version whose report the cloud has answered after `done`
    pushes_after_done: int = 0
    reports: int = 0
    acknowledged: int = 0  # reports with QoS 1 that the broker has taken
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def topic(self) -> str:
        return f"$ota/report/{self.product}/{self.name}"

    async def live(self, options: Options, gate: asyncio.Semaphore) -> None:
        """Connect and report, and reconnect whenever the link is lost, forever."""
        tries = 0
        while True:
            began = time.monotonic()
            try:
                self.link = Link(f"swarm-{self.product}-{self.name}", self._received)
                async with gate:
                    topic = f"$ota/update/{self.product}/{self.name}"
                    await self.link.open(options.host, options.port, topic)
                await self._serve(self.link, options)
            except (OSError, asyncio.TimeoutError):
                pass
            finally:
                if self.link:
                    self.link.close()
            if time.monotonic() - began > RETRY_MOST_S:
                tries = 0
            await asyncio.sleep(
                min(RETRY_FIRST_S * 2**tries, RETRY_MOST_S) * random.uniform(0.5, 1)
            )
            tries = min(tries + 1, 20)

    async def _serve(self, link: Link, options: Options) -> None:
        self.ivota_cloud, self.told_s = False, None
        while not link.closed.done():
            reported = time.monotonic()
            await self.report_version()
            share = random.uniform(1 - options.spread, 1 + options.spread)
            while not link.closed.done():
                left_s = reported + (self.told_s or options.interval_s) * share - time.monotonic()
                if left_s <= 0:
                    break
                self.wake = asyncio.get_running_loop().create_future()
                await asyncio.wait(
                    [link.closed, self.wake],
                    timeout=min(left_s, PING_S),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not (link.closed.done() or self.wake.done() or left_s <= PING_S):
                    link.ping()

    async def report_version(self) -> None:
        report: dict[str, Any] = {"version": self.version}
        if self.ivota_cloud:
            report["max_message_bytes"] = MESSAGE_MOST
        await self._say({"type": "report_version", "report": report}, 1)

    async def progress(self, version: str, state: str, code: int = 0, **more: str) -> None:
        told = {"state": state, **more, "result_code": str(code)}
        told.setdefault("result_msg", "")
        report = {"progress": told, "version": version}
        await self._say({"type": "report_progress", "report": report}, int(state != "downloading"))

    async def _say(self, message: dict[str, Any], qos: int) -> None:
        if self.link is None:
            raise OSError("not connected to the broker yet")
        self.reports += 1
        await self.link.publish(self.topic, json.dumps(message).encode(), qos)
        self.acknowledged += qos

    def _received(self, _topic: str, payload: bytes) -> None:
        message = json.loads(payload)
        if message["type"] == "report_version_rsp":
            if message["version"] == self.become:
                self.settled = self.become
            if message["version"] == self.version:
                self._take_interval(message)
            self.log("answer", self, message)
        elif message["type"] == "update_firmware":
            self.log("push", self, message)
            if message["version"] == self.settled == self.version:
                self.pushes_after_done += 1
            elif message["version"] != self.version and self.busy is None:
                self.busy = message["version"]
                task = asyncio.ensure_future(self._update(message))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def _take_interval(self, answer: dict[str, Any]) -> None:
        self.ivota_cloud = answer.get("cloud") == "ivota"
        given = answer.get("report_interval_s") if self.ivota_cloud else None
        fits = isinstance(given, int) and INTERVAL_LEAST_S <= given <= INTERVAL_MOST_S
        told_s = given if fits else None
        if told_s != self.told_s and self.wake and not self.wake.done():
            self.wake.set_result(None)
        self.told_s = told_s

    async def _update(self, push: dict[str, Any]) -> None:
        version = push["version"]
        self.settled = None
        try:
            code, words = await self._fetched(push)
            if code == 0:
                await self._sure(version, "burning")
                code, words = (-5, "the trial failed") if self.failing else (0, "")
            if code:
                await self._sure(version, "fail", code, result_msg=words)
                return
            await self._sure(version, "done")
            # Only now, so that `done` is always visible before this version.
            self.version = self.become = version
            self.log("done", self, push)
            await self.report_version()
        except (OSError, asyncio.TimeoutError):
            pass  # the link is lost: the version is reported after the next connect
        finally:
            self.busy = None

    async def _sure(self, version: str, state: str, code: int = 0, **more: str) -> None:
        """Publish a report; after a lost link, repeat it on the next one, like a board."""
        while True:
            try:
                await self.progress(version, state, code, **more)
                return
            except (OSError, asyncio.TimeoutError):
                await asyncio.sleep(AGAIN_S)

    async def _fetched(self, push: dict[str, Any]) -> tuple[int, str]:
        try:
            return await self._fetch(push)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            return -1, f"time_out: {error!r}"[:200]

    async def _fetch(self, push: dict[str, Any]) -> tuple[int, str]:
        version, size = push["version"], push["file_size"]
        parts = urlsplit(push["url"])
        host, port = parts.hostname or "", parts.port or 80
        connected = asyncio.open_connection(host, port)
        reader, writer = await asyncio.wait_for(connected, HTTP_S)
        digest, done = hashlib.md5(), 0
        try:
            await self.progress(version, "downloading", percent="0")
            while done < size:
                writer.write(
                    f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                    f"Range: bytes={done}-{done + PIECE - 1}\r\n\r\n".encode()
                )
                data = await asyncio.wait_for(_body(reader), HTTP_S)
                digest.update(data)
                done += len(data)
                if self.slow_s:
                    await asyncio.sleep(self.slow_s)
            await self.progress(version, "downloading", percent="100")
        finally:
            writer.close()
        found = digest.hexdigest()
        return (0, "") if found == push["md5sum"] else (-4, f"wrong MD5: {found}")


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if " 206 " not in head.split("\r\n")[0]:
        raise ValueError(head.split("\r\n")[0])
    length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
    return await reader.readexactly(int(length.split(":")[1]))


class Swarm:
    """A swarm: `await run()` in an event loop. Its devices exist from the beginning."""

    def __init__(
        self,
        options: Options,
        log: Callable[[str, Device, dict[str, Any]], None] = lambda *_: None,
    ) -> None:
        self.options = options
        draw = random.Random(options.seed)
        # Draw the exact number: the share of a small swarm would vary a lot otherwise.
        order = draw.sample(range(options.count), options.count)
        failing = set(order[: round(options.failing * options.count)])
        slow = set(order[::-1][: round(options.slow * options.count)])
        self.devices = [
            Device(
                f"d{number:05}",
                options.version,
                number in failing,
                options.slow_s if number in slow else 0.0,
                options.product,
                log,
            )
            for number in range(options.count)
        ]
        self.started = time.monotonic()

    async def run(self) -> None:
        """Run until cancelled, then close everything."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        gate = asyncio.Semaphore(CONNECTS)
        lives = [asyncio.ensure_future(d.live(self.options, gate)) for d in self.devices]
        try:
            if not lives:
                await asyncio.Event().wait()
            # Each runs forever: one that has ended has found a bug of ours.
            ended, _ = await asyncio.wait(lives, return_when=asyncio.FIRST_COMPLETED)
            for life in ended:
                life.result()
        finally:
            tasks = {*lives, *(task for device in self.devices for task in device.tasks)}
            # Repeatedly if needed: before Python 3.12, `wait_for` can lose a cancellation that
            # comes
            # together with its result.
            while tasks := {task for task in tasks if not task.done()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=1)

    def mend(self) -> int:
        """Repair the devices that fail their trial; return their number."""
        failing = [device for device in self.devices if device.failing]
        for device in failing:
            device.failing = False
        return len(failing)

    def status(self) -> dict[str, Any]:
        """Return the state of the swarm in figures."""
        linked = sum(1 for d in self.devices if d.link and d.link.is_open)
        return {
            "devices": len(self.devices),
            "connected": linked,
            "updating": sum(1 for d in self.devices if d.busy is not None),
            "versions": dict(sorted(Counter(d.version for d in self.devices).items())),
            "reports": sum(d.reports for d in self.devices),
            "acknowledged": sum(d.acknowledged for d in self.devices),
            "pushes_after_done": sum(d.pushes_after_done for d in self.devices),
        }
