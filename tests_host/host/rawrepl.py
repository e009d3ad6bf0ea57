"""A board at a serial port, without a board: real MicroPython behind a pseudo-terminal.

    with RawReplBoard(folder, files={"/main.py": b"…"}) as board:
        subprocess.run(["mpremote", "connect", board.port, …])

rawrepl_board.py is the board's side. This is the wire between it and the pseudo-terminal: a
ctrl-C becomes an interrupt, a reset the next process on the same flash image.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
import tty
from collections.abc import Mapping
from pathlib import Path

import interpreters
from waiting import is_running, wait_until

from ivota_tools.sim.board import DEVICE as SIM_DEVICE
from ivota_tools.sim.flash import Flash
from ivota_tools.toolchain import preview

EXIT_MODES = {90: "friendly", 91: "raw", 92: "friendly"}  # as in rawrepl_board.py
# The next start's reset cause, as in rawrepl_board.py: power-on is every other end.
CAUSES = {90: 2, -signal.SIGALRM: 3, 91: 5, 92: 5}
POWER_ON = 1
PATIENCE_S = 10.0


def is_pending(pid: int) -> bool:
    """Whether a signal has yet to be taken by a process; not by one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)$", status, re.M)
    return is_running(pid) and any(int(mask, 16) for mask in masks)


class RawReplBoard:
    """One board. It has power from `__enter__` to `__exit__`.

    With `slots` it is an ESP32 with two OTA slots of so many blocks, which runs the image
    `running` from the first one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        files: Mapping[str, bytes] | None = None,
        blocks: int = 512,
        interpreter: int | str = 64,
        raw_paste: bool = True,
        slots: int = 0,
        running: bytes = b"",
    ) -> None:
        self.flash = Flash(Path(folder, "flash.img"), blocks, slots)
        self.flash.format(files)
        self.image = self.flash.path
        self.slots = slots
        if slots:
            self.flash.write_slot("ota_0", running)
        self.blocks = blocks
        self.raw_paste = raw_paste
        self.interpreter = interpreters.command(interpreter)
        # The process that runs now: whoever kills it takes the board's power away for a moment.
        self.pid_file = Path(folder, "pid")
        self._control = Path(folder, "control").resolve()
        self._ready = Path(folder, "ready").resolve()  # not empty once MicroPython takes a ctrl-C
        self.received = bytearray()  # every byte that the host sent to the board
        self.printed = bytearray()  # every byte that the board sent, whether anyone listened
        # The mode of each start: "friendly" runs main.py, "raw" is a soft reset by mpremote.
        self.starts: list[str] = []
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.tty = os.ttyname(self._slave)
        self.port = self.tty  # what the host is told: a test may put a link in its place
        self._heard = False  # whether somebody took what was sent last
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._wire, daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RawReplBoard:
        self._start("friendly")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for fd in (self._master, self._slave, self._stop_read, self._stop_write):
            os.close(fd)

    def wait_printed(self, pattern: str, start: int = 0) -> str:
        """The first match in what the board has printed from byte `start` on, or yet prints."""
        printed = lambda: re.search(pattern.encode(), bytes(self.printed[start:]))  # noqa: E731
        try:
            match = wait_until(printed, repr(pattern))
        except AssertionError as error:
            raise AssertionError(f"{error}: {bytes(self.printed[start:])!r}") from None
        assert match
        return match[0].decode(errors="replace")

    def wait_starts(self, *modes: str) -> None:
        """Waits for the board to have started in just these modes, in order."""
        wait_until(lambda: len(self.starts) >= len(modes), f"{len(modes)} starts")
        assert self.starts == list(modes)

    def read(self, path: str) -> bytes:
        """A file's content, read off a copy of the flash image."""
        return self.flash.read(path)

    def files(self) -> list[str]:
        """The paths of all files on the flash."""
        return sorted(self.flash.tree())

    def _start(self, mode: str, cause: int = POWER_ON) -> None:
        self.starts.append(mode)
        script = Path(__file__).with_name("rawrepl_board.py")
        arguments = [str(self.image), str(self.blocks), mode, str(int(self.raw_paste)), str(cause)]
        arguments += [str(self.flash.state_path), str(self.slots), str(self._ready)]
        self._ready.write_bytes(b"")
        # A session of its own: ctrl-C at the terminal of the tests must not reach the board.
        environment = {**os.environ, "MICROPYPATH": f".frozen:{SIM_DEVICE}"}
        if preview.is_launched(self.interpreter):
            # It has the simulator's `ffi` to end with.
            self._control.write_bytes(bytes(4096))
            environment |= preview.environment(self._control, {})
        self._process = subprocess.Popen(
            [*self.interpreter, str(script), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        self.pid_file.write_text(str(self._process.pid))

    def _wire(self) -> None:
        while True:
            process = self._process
            assert process is not None and process.stdin and process.stdout
            sources = [self._master, process.stdout, self._stop_read]
            ready = select.select(sources, [], [])[0]
            if self._stop_read in ready:
                return
            if process.stdout in ready:
                data = process.stdout.read(65536)
                if data:
                    self._to_host(data)
                else:
                    code = preview.ended(process.wait(), self._control)
                    self._start(EXIT_MODES.get(code, "friendly"), CAUSES.get(code, POWER_ON))
                    continue
            if self._master in ready:
                self._to_board(process, os.read(self._master, 65536))

    def _to_host(self, data: bytes) -> None:
        # A board's standard output has \r\n for each \n.
        first = b"\n" if data[:1] == b"\n" and self.printed[-1:] == b"\r" else b""
        data = first + re.sub(rb"(?<!\r)\n", b"\r\n", data[len(first) :])
        self.printed += data
        while data:
            try:
                data = data[os.write(self._master, data) :]
                self._heard = True
            except BlockingIOError:
                # A serial line does not wait for a listener, but a listener on a busy machine
                # loses here what it would not lose on a slow line: whoever listened a moment
                # ago is waited for.
                wait_s = PATIENCE_S if self._heard else 0
                ready = select.select([self._stop_read], [self._master], [], wait_s)
                if not ready[1]:
                    self._heard = False
                    return

    def _listens(self, pid: int) -> bool:
        """Whether the process takes a ctrl-C, or has ended."""
        return self._ready.stat().st_size > 0 or not is_running(pid)

    def _to_board(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        assert process.stdin
        self.received += data
        for number, part in enumerate(data.split(b"\x03")):
            if number:
                # Before that, it would end the process, and what stands behind it would be lost. A
                # board keeps in its buffer what arrives while it starts.
                wait_until(lambda: self._listens(process.pid), "MicroPython's start")
                # What stood before the ctrl-C is consumed first, as on a serial line, and what
                # stands behind it comes to who has taken the ctrl-C.
                time.sleep(0.02)
                os.kill(process.pid, signal.SIGINT)
                time.sleep(0.02)
                wait_until(lambda: not is_pending(process.pid), "the ctrl-C")
            if part:
                try:
                    process.stdin.write(part)
                except BrokenPipeError:
                    return
