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

from littlefs import LittleFS, UserContext

from ivota_tools import toolchain

BLOCK = 4096
EXIT_MODES = {90: "friendly", 91: "raw", 92: "friendly"}  # as in rawrepl_board.py


class _ImageFile(UserContext):
    """littlefs-python's storage: a flash image, in memory."""

    def __init__(self, image: bytes) -> None:
        super().__init__(len(image))
        self.buffer = bytearray(image)


def _mounted(image: bytes) -> tuple[LittleFS, _ImageFile]:
    context = _ImageFile(image)
    count = len(image) // BLOCK
    return LittleFS(context, block_size=BLOCK, block_count=count, mount=False), context


def make_image(files: Mapping[str, bytes], blocks: int) -> bytes:
    """A flash image of that many blocks with these files on it."""
    fs, context = _mounted(b"\xff" * BLOCK * blocks)
    fs.format()
    fs.mount()
    for path, data in files.items():
        fs.makedirs(os.path.dirname(path), exist_ok=True)
        with fs.open(path, "wb") as file:
            file.write(data)
    fs.unmount()
    return bytes(context.buffer)


class RawReplBoard:
    """One board. It has power from `__enter__` to `__exit__`."""

    def __init__(
        self,
        folder: Path,
        *,
        files: Mapping[str, bytes] | None = None,
        blocks: int = 512,
        bits: int = 64,
        raw_paste: bool = True,
    ) -> None:
        self.image = Path(folder, "flash.img")
        self.image.write_bytes(make_image(files or {}, blocks))
        self.blocks = blocks
        self.raw_paste = raw_paste
        self.interpreter = toolchain.micropython(bits)
        self.received = bytearray()
        """Every byte the host sent to the board."""
        self.printed = bytearray()
        """Every byte the board sent, whether anyone listened or not."""
        self.starts: list[str] = []
        """The mode of each start: "friendly" runs main.py, "raw" is a soft reset by mpremote."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = self.tty = os.ttyname(self._slave)
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

    def wait_printed(self, pattern: str, timeout_s: float = 15) -> str:
        """The first match in what the board has printed so far or prints within the time."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            match = re.search(pattern.encode(), bytes(self.printed))
            if match:
                return match[0].decode(errors="replace")
            time.sleep(0.02)
        raise AssertionError(f"the board never printed {pattern!r}: {bytes(self.printed)!r}")

    def wait_starts(self, *modes: str, timeout_s: float = 15) -> None:
        """Waits for the board to have started in just these modes, in order."""
        end = time.monotonic() + timeout_s
        while len(self.starts) < len(modes) and time.monotonic() < end:
            time.sleep(0.02)
        assert self.starts == list(modes)

    def read(self, path: str) -> bytes:
        """A file's content, read off a copy of the flash image."""
        fs = self._fs()
        with fs.open(path, "rb") as file:
            return bytes(file.read())

    def files(self) -> list[str]:
        """The paths of all files on the flash."""
        found = []
        fs = self._fs()
        for folder, _, names in fs.walk("/"):
            found += [os.path.join(folder, name) for name in names]
        return sorted(found)

    def _fs(self) -> LittleFS:
        fs, _ = _mounted(self.image.read_bytes())
        fs.mount()
        return fs

    def _start(self, mode: str) -> None:
        self.starts.append(mode)
        script = Path(__file__).with_name("rawrepl_board.py")
        arguments = [str(self.image), str(self.blocks), mode, str(int(self.raw_paste))]
        # A session of its own: ctrl-C at the terminal of the tests must not reach the board.
        self._process = subprocess.Popen(
            [*self.interpreter, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )

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
                    self._start(EXIT_MODES.get(process.wait(), "friendly"))
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
            except BlockingIOError:
                # A serial line does not wait for a listener. A listener gets a moment, because
                # what it loses here it would not lose on a slow line.
                if not select.select([], [self._master], [], 0.2)[1]:
                    return

    def _to_board(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        assert process.stdin
        self.received += data
        for number, part in enumerate(data.split(b"\x03")):
            if number:
                # What stood before the ctrl-C is consumed first, as on a serial line.
                time.sleep(0.02)
                os.kill(process.pid, signal.SIGINT)
                time.sleep(0.02)
            if part:
                try:
                    process.stdin.write(part)
                except BrokenPipeError:
                    return
