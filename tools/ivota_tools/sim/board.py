"""Run a simulated board: MicroPython's unix port, a flash image, and power."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ivota_tools.firmware.mpy_compiler import compiled_folder
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.sim.flash import Death, Fault, Flash
from ivota_tools.sim.initial_files import contents
from ivota_tools.toolchain import ToolchainError, boards_micropython, micropython, preview

DEVICE = Path(__file__).parent / "device"

# machine.reset_cause() of the esp32 port. A process that resets exits with its cause + 80.
PWRON_RESET, HARD_RESET, WDT_RESET, SOFT_RESET = 1, 2, 3, 5
_RESETS = {80 + HARD_RESET: HARD_RESET, 80 + SOFT_RESET: SOFT_RESET, -signal.SIGALRM: WDT_RESET}
# Signals that kill an interpreter without a lock between its threads, and the limit for them.
_CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL, -signal.SIGFPE)
_CRASHES_MOST = 20
_RESET_NAMES = {HARD_RESET: "reset", SOFT_RESET: "soft reset", WDT_RESET: "watchdog reset"}


class BoardError(RuntimeError):
    """The board did something that no board can do, or an expected event did not happen."""


class Board:
    """A simulated board with its files in `folder`.

    `bits`: 32 like a real board, or 64; None for the default of toolchain.boards_micropython().
    `heap`: a value for `-X heapsize` ("48k"), or None for the interpreter's default.
    `blocks`: size of the flash in blocks of 4096 bytes.
    `config`: the content of /ivota.json.
    `files`: a map from paths on the board to bytes, or to a file or folder to copy. They are
    written last and so can replace others.
    `factory`: install this checkout's boot.py, main.py and lib, and umqtt.
    `mpy`: compile lib.
    `fs`: "flash", or "host" for files in `folder`/root without a flash.
    `fat_blocks`: size of a second flash with FAT, in sectors of `fat_sector` bytes, mounted at
    /fat.
    `record`: record every flash operation (flash_record.py).
    `slots`: simulate an ESP32 with two OTA slots of that many blocks on the same flash. ota_0
    contains `image` (see esp32_image.py), and otadata is blank.
    `plain`: simulate an ESP32 without OTA slots, like most.
    `turns`: run one thread at a time (_sim_thread_lock.py), for programs with threads. If the
    interpreter crashes nevertheless, the board logs it and starts again, as after a panic.
    `console`: called from another thread with every line of the log.

    Each start is a new process on the same flash. `log` has the output of all processes, and lines
    that start with "sim: " for events of the simulation.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bits: int | None = None,
        heap: str | None = None,
        blocks: int = 512,
        config: Mapping[str, object] | None = None,
        files: Mapping[str, bytes | Path] | None = None,
        env: Mapping[str, str] | None = None,
        factory: bool = True,
        mpy: bool = False,
        fs: str = "flash",
        fat_blocks: int = 0,
        fat_sector: int = BLOCK,
        record: bool = False,
        slots: int = 0,
        image: bytes | None = None,
        plain: bool = False,
        turns: bool = False,
        console: Callable[[str], None] | None = None,
    ):
        if fs not in ("flash", "host"):
            raise ValueError(f"fs must be flash or host, not {fs}")
        if fs == "host" and (fat_blocks or record or slots or plain):
            raise ValueError("a board on the host's file system has no flash")
        if bool(slots) != bool(image):
            raise ValueError("slots need an image, and an image needs slots")
        if plain and slots:
            raise ValueError("a plain ESP32 has no slots")
        self.folder = folder
        self.bits = bits
        self.heap = heap
        self.config = config
        self.files = dict(files or {})
        self.env = dict(env or {})
        self.factory = factory
        self.mpy = mpy
        self.flash = Flash(folder / "flash.img", blocks, slots) if fs == "flash" else None
        self.root = folder / "root" if fs == "host" else None
        self.fat = Flash(folder / "fat.img", fat_blocks) if fat_blocks else None
        self.fat_sector = fat_sector
        self.image = image
        self.plain = plain
        self.turns = turns
        self.record = folder / "flash.log" if record else None
        self.log: list[str] = []
        self.power_cuts = 0  # processes ended by signal 9, except those that stop() ended
        self.resets = 0  # of any kind except power-on
        self.starts = 0  # processes
        self.crashes = 0  # of the interpreter itself, each followed by a new start
        self.reset_cause = PWRON_RESET
        self.deaths: list[Death] = []
        self.failure: str | None = None
        self.booted: str | None = None  # the slot that its boot loader selected last
        self.sim_heap = 0  # bytes in use on the board's heap before boot.py: the simulator's own
        self._control = (folder / "control").resolve()  # of an interpreter that needs a launcher
        self._console = console
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._session: threading.Thread | None = None
        self._on = False
        self._powered = False
        self._stopping = False

    # --- files

    def install(self) -> None:
        """Format the flash and write the initial files. Counters start at 0."""
        files = contents(self.factory, self.mpy, self.config, self.files)
        if self.fat:
            self.fat.blank()
        if self.record:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.record.write_bytes(b"")
        if self.flash:
            self.flash.format(files)
            if self.image:
                self.flash.write_slot("ota_0", self.image)
            return
        assert self.root
        if self.root.exists():
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True)
        for path, data in files.items():
            place = self._host_path(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def read(self, path: str) -> bytes:
        """Read a file from outside. Raises FileNotFoundError."""
        return self.flash.read(path) if self.flash else self._host_path(path).read_bytes()

    def listdir(self, path: str = "/") -> list[str]:
        if self.flash:
            return self.flash.listdir(path)
        return sorted(p.name for p in self._host_path(path).iterdir())

    def write(self, path: str, data: bytes) -> None:
        """Write a file from outside. The board must be off."""
        if self.on:
            raise BoardError("the board is on: switch it off first")
        if self.flash:
            self.flash.write({path: data})
            return
        place = self._host_path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def _host_path(self, path: str) -> Path:
        assert self.root
        return self.root / path.lstrip("/")

    def flash_counts(self) -> dict[str, int]:
        """Return Flash.counts(): `operations`, `programs`, `erases`, `reads` and so on."""
        return self._flash().counts()

    def arm(self, fault: Fault) -> None:
        """Make the flash fail: see Fault. Can be called while the board runs."""
        self._flash().arm(fault)

    def _flashes(self) -> list[Flash]:
        return [flash for flash in (self.flash, self.fat) if flash]

    def _flash(self) -> Flash:
        if not self.flash:
            raise BoardError("this board has no flash: its files are on the host")
        return self.flash

    # --- power

    @property
    def on(self) -> bool:
        """Return whether the board has power: from power_on() until a power cut or its flash's
        death.
        """
        return self._on

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process else None

    def power_on(self) -> None:
        """Start the board as from power-off. Returns at once."""
        if self.on:
            raise BoardError("the board is on: switch it off first")
        if self.failure:
            raise BoardError(self.failure)
        for flash in self._flashes():
            flash.settle()
        if self._session:
            self._session.join()
        self._on = self._powered = True
        self._stopping = False
        self._session = threading.Thread(target=self._run, name="board", daemon=True)
        self._session.start()

    def power_cut(self) -> None:
        """Cut the power now, with signal 9. The board stays off until power_on()."""
        self._end()

    def stop(self) -> None:
        """Cut the power at the end of a test, without counting this power cut."""
        self._stopping = True
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._powered = False
            if self._process:
                self._process.kill()
        session = self._session
        if session and session is not threading.current_thread():
            session.join()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # One thread starts all processes of one power-on, because the kernel ends a board's process
    # together with the thread that started it.
    def _run(self) -> None:
        try:
            self._run_processes()
        finally:
            with self._changed:
                self._on = False
                self._changed.notify_all()

    def _run_processes(self) -> None:
        cause = PWRON_RESET
        while cause:
            with self._changed:
                if not self._powered:
                    return
                self.reset_cause = cause
                self.starts += 1
                try:
                    process = self._process = self._start(cause)
                except OSError as e:
                    self._fail(f"the interpreter does not start: {e}")
                    return
                except ToolchainError as e:
                    self._fail(str(e))
                    return
            assert process.stdout
            for line in process.stdout:
                self._line(line.decode(errors="replace").rstrip("\r\n"))
            process.stdout.close()
            code = preview.ended(process.wait(), self._control)
            with self._changed:
                self._process = None
            cause = self._ended(code)

    @property
    def mac(self) -> str:
        """Return the address of a simulated radio: the same at each start, different in each
        folder.
        """
        return "02" + hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:10]

    def _start(self, cause: int) -> "subprocess.Popen[bytes]":
        argv = micropython(self.bits) if self.bits else boards_micropython()
        env = {**os.environ, **self.env, "MICROPYPATH": ""}
        if preview.is_launched(argv):
            self._control.write_bytes(bytes(BLOCK))
            maps = {}
            for number, flash in enumerate(self._flashes()):
                maps.update(flash.addresses(number))
            env.update(preview.environment(self._control, maps))
        if self.heap:
            argv = [*argv, "-X", f"heapsize={self.heap}"]
        # Alone, it takes nothing from a heap that is measured.
        modules = "import _sim_thread_lock, _sim_run" if self.turns else "import _sim_run"
        if self.flash:
            place = self.flash.arguments()
            if self.plain:
                place = ["+", *place, "0"]
            place = [*place, str(self.record.resolve()) if self.record else ""]
            if self.fat:
                place += [*self.fat.arguments(), str(self.fat_sector)]
        else:
            place = [str(self.root.resolve())] if self.root else []
        return subprocess.Popen(
            [*argv, "-c", modules, str(cause), self.mac, *place],
            # The simulator's own modules are found here by their bare names: a path would take
            # heap, and how much would depend on where this machine has its folders.
            env=env,
            cwd=compiled_folder(DEVICE),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _ended(self, code: int) -> int:
        """Handle the end of a process. Return the cause of the next start, or 0."""
        if code in _RESETS:
            cause = _RESETS[code]
            self.resets += 1
            self._line(f"sim: {_RESET_NAMES[cause]}")
            return cause
        if self.turns and code in _CRASHES and self.crashes < _CRASHES_MOST:
            self.crashes += 1
            self._line(
                f"sim: resetting the board, because the interpreter crashed (signal {-code})"
            )
            return HARD_RESET
        found = (flash.violation() for flash in self._flashes())
        violation = next((each for each in found if each), None)
        if code != -signal.SIGKILL or violation:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._fail(violation or f"the interpreter ended with {how}")
            return 0
        settled = [flash.settle() for flash in self._flashes()]
        death = next((each for each in settled if each), None)
        if death:
            self.deaths.append(death)
            self._line(f"sim: power cut in {death.words}")
        if self._stopping and not death:
            self._line("sim: stopped")
            return 0
        self.power_cuts += 1
        if not death:
            self._line("sim: power cut")
        return 0

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self._line(f"sim: {failure}")

    def _line(self, line: str) -> None:
        if line.startswith("sim: heap "):
            self.sim_heap = int(line.split()[2])
        elif line.startswith("sim: boots "):
            self.booted = line.split()[2]
        with self._changed:
            self.log.append(line)
            self._changed.notify_all()
        if self._console:
            self._console(line)

    # --- waits

    def wait_log(self, pattern: str, timeout_s: float = 60, start: int = 0) -> "re.Match[str]":
        """Wait for a line of the log that matches `pattern`, from line `start` on.

        Raises BoardError with the end of the log after `timeout_s`, or as soon as the board is off
        for good.
        """
        wanted = re.compile(pattern)
        until = time.monotonic() + timeout_s
        while True:
            with self._changed:
                on = self._on
                for line in self.log[start:]:
                    match = wanted.search(line)
                    if match:
                        return match
                start = max(start, len(self.log))
                left = until - time.monotonic()
                if on and left > 0:
                    self._changed.wait(left)
                    continue
            what = "the board is off" if not on else f"waited {timeout_s:g} s"
            raise BoardError(f"no {pattern!r} on the console: {what}\n" + self.tail())

    def wait_off(self, timeout_s: float = 60) -> None:
        """Wait until an armed fault has cut the power. Raises BoardError."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._on, timeout_s):
                raise BoardError(f"the board is still on after {timeout_s:g} s\n" + self.tail())
        if self.failure:
            raise BoardError(f"{self.failure}\n" + self.tail())

    def tail(self, lines: int = 40) -> str:
        """Return the end of the log, for an error message."""
        return "\n".join(f"    {line}" for line in self.log[-lines:])
