"""One board of the soak, updated repeatedly, with the faults of a plan around it."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board, Fault, Proxy
from ivota_tools.sim.filesystem import FlashError

from .plan import Plan, Result
from .stage import Cloud, Origin, update_firmware
from .wire import WINDOW

EXAMPLE = CHECKOUT / "examples" / "thermometer"
LIMIT_S = 180.0  # for one update
HEAP = "112k"  # the heap of an ESP32 after it has grown

# A block's download takes about this many flash operations.
_OPERATIONS = 30


class Rig:
    """One board and its environment."""

    def __init__(self, folder: Path, broker: Broker, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._origin = stack.enter_context(Origin())
        self._link = stack.enter_context(Proxy("127.0.0.1", broker.port))
        self._cloud = stack.enter_context(Cloud(broker.port, folder.name))
        config = {
            "product_id": "P",
            "device_name": folder.name,
            "version": "0",
            "mqtt": {"host": "127.0.0.1", "port": self._link.port, "keepalive_s": 4},
            "http": {"timeout_s": 2, "deadline_s": 3},
            # No minimum interval between downloads: a real board has a day for what takes minutes
            # here.
            "retry": {"first_s": 0.1, "most_s": 1, "rest_most_s": 1},
        }
        boot = WINDOW.encode() + (CHECKOUT / "boot.py").read_bytes()
        files = {"/boot.py": boot}
        self.board = Board(folder, heap=HEAP, mpy=True, config=config, files=files)
        self.board.install()
        stack.callback(self.board.stop)
        self.board.power_on()
        self._cloud.wait_version("0")

    def update(self, seed: int, it: Plan) -> Result:
        result = Result(it.number, "done", it.size, list(it.kinds))
        start = time.monotonic()
        version = f"u{it.number}"
        release = self._folder / f"{version}.bin"
        pack(EXAMPLE, version, out=release, application="thermometer", pad_to=it.size)
        data = release.read_bytes()
        release.unlink()
        origin = self._origin
        origin.rate, origin.segment = it.rate, it.segment
        origin.serve(data, it.answers)
        heard, cuts, links = self._cloud.heard, self.board.power_cuts, len(self._link.cuts)
        push = update_firmware(version, origin.url(), data)
        ended = threading.Event()
        threads = [threading.Thread(target=self._cut_links, args=(it, ended))]
        if it.power:
            self.board.arm(self._fault(seed, it))
            threads.append(threading.Thread(target=self._power, args=(ended,)))
        for thread in threads:
            thread.start()
        self._cloud.want(push)
        try:
            said = self._cloud.wait_end(version, heard, LIMIT_S)
            if said["state"] != "done":
                result.ended = f"{said['state']} {said['result_code']}: {said['result_msg']}"
            elif self._read(f"/firmware/{version}.bin") != data:
                result.ended = "wrong bytes"
            elif origin.answers or len(self._link.cuts) - links != len(it.links):
                result.ended = "not all faults came"
            elif self.board.power_cuts - cuts != bool(it.power):
                result.ended = f"{self.board.power_cuts - cuts} power cuts"
        except TimeoutError as error:
            result.ended = str(error)
        finally:
            self._cloud.want(None)
            ended.set()
            for thread in threads:
                thread.join()
        result.power_cuts = self.board.power_cuts - cuts
        result.ignored = sum(
            min(request.first, request.body) for request in origin.requests if request.answer.whole
        )
        result.again = self._sent() - result.ignored - it.size
        result.seconds = round(time.monotonic() - start, 1)
        return result

    def _sent(self) -> int:
        """Return the bytes of the firmware that the server has sent for this update."""
        requests = list(self._origin.requests)
        return sum(request.body for request in requests if not request.answer.status)

    def _fault(self, seed: int, it: Plan) -> Fault:
        assert it.power
        share, kind = it.power
        operations = self.board.flash_counts()["operations"]
        ahead = int(share * it.size / 4096 * _OPERATIONS)
        return Fault(kind, operations + ahead, seed=seed + it.number)

    def _power(self, ended: threading.Event) -> None:
        """Restore the board's power."""
        while not ended.wait(0.05):
            if not self.board.on:
                self.board.power_on()
                return

    def _cut_links(self, it: Plan, ended: threading.Event) -> None:
        """Cut the broker's connection each time the planned bytes of firmware have been sent."""
        for after, kind in it.links:
            while self._sent() < after or not self._link.cut_now(kind):
                if ended.wait(0.02):
                    return

    def _read(self, path: str) -> bytes:
        # A copy of a flash during a write may be half old and half new.
        for _ in range(20):
            with contextlib.suppress(FlashError, FileNotFoundError):
                return self.board.read(path)
            time.sleep(0.1)
        return self.board.read(path)
