"""Parts that the console measurements share: the cloud as a process, the swarm on a thread."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivota_tools.api_client import ApiError, Client
from ivota_tools.sim.swarm import Device, Options, Swarm

Log = Callable[[str, Device, dict[str, Any]], None]


class CloudProcess:
    """Run `ivota cloud` in a separate process, as an operator does.

    `descriptors`: the maximum number of its open files, as set by `ulimit -n`.
    """

    def __init__(self, folder: Path, *options: object, descriptors: int | None = None) -> None:
        command = [sys.executable, "-m", "ivota_tools", "cloud", "--json", "--port", "0"]
        command += ["--data", str(folder), *map(str, options)]
        if descriptors:
            command = ["/bin/sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        with (folder.parent / "cloud.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the cloud did not start: see {folder.parent / 'cloud.log'}")
        self.said = json.loads(line)
        self.api = Client(self.said["api_url"])

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def __enter__(self) -> CloudProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class SwarmThread:
    """A swarm that runs in parallel with the measurement."""

    def __init__(self, options: Options, log: Log = lambda *_: None) -> None:
        self.swarm = Swarm(options, log)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._task: asyncio.Task[None] | None = None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.swarm.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        self._loop.close()

    def __enter__(self) -> Swarm:
        self._thread.start()
        return self.swarm

    def __exit__(self, *_: object) -> None:
        if self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()


def wait_for(look: Callable[[], Any], what: str, seconds: float, every: float = 0.5) -> Any:
    """Wait until `look()` is true and return its value. Raises RuntimeError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except ApiError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come in {seconds:.0f} s")
        time.sleep(every)


def upload(api: Client, folder: Path, version: str, data: bytes) -> None:
    path = folder / f"{version}.bin"
    path.write_bytes(data)
    api.upload(path, version)
