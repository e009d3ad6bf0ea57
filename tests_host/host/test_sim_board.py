"""The simulated board as a board: starts, resets, the watchdog, crashes, power."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interpreters import EACH, for_boards
from waiting import is_running, wait_until

from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.sim import Board, BoardError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(params=EACH)
def bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    return for_boards(request.param, monkeypatch)


@pytest.fixture(params=["flash", "host"])
def fs(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _board(folder: Path, main: str, **options: object) -> Board:
    files = {"/main.py": main.encode(), **options.pop("files", {})}  # type: ignore[dict-item]
    board = Board(folder, factory=False, files=files, **options)  # type: ignore[arg-type]
    board.install()
    return board


def _said(board: Board) -> list[str]:
    return [line for line in board.log if not line.startswith("sim: heap")]


def test_starts_as_a_board_does(tmp_path: Path, bits: int, fs: str) -> None:
    main = """
import sys, os, machine, helper
print("main", os.getcwd(), sys.path, sorted(os.listdir()), helper.x, left_by_boot, sys.argv)
print(machine.reset_cause() == machine.PWRON_RESET, len(machine.unique_id()) == 6, __name__)
with open("/made", "w") as f: f.write("1")
os.mkdir("/d"); os.rename("/made", "/d/made"); os.rename("d/made", "d/moved")
try:
    os.rename("/nothing", "/else")
except OSError as e:
    print("errno", e.errno)
print(open("d/moved").read(), os.stat("/d/moved")[6])
"""
    files = {"/boot.py": b"print('boot'); left_by_boot = 7", "/lib/helper.py": b"x = 42"}
    board = _board(tmp_path, main, files=files, bits=bits, fs=fs)
    with board:
        assert not board.on and board.pid is None
        board.power_on()
        board.wait_log("^REPL$")
        assert board.on and board.pid
        with pytest.raises(BoardError, match="the board is on"):
            board.power_on()
    assert _said(board) == [
        "boot",
        "main / ['', '.frozen', '/lib'] ['boot.py', 'lib', 'main.py'] 42 7 []",
        "True True __main__",
        "errno 2",
        "1 1",
        "REPL",
        "sim: stopped",
    ]
    assert board.read("/d/moved") == b"1"
    assert board.listdir() == ["boot.py", "d", "lib", "main.py"]
    assert (board.starts, board.resets, board.power_cuts, board.on) == (1, 0, 0, False)


def test_files_may_be_bytes_files_and_folders(tmp_path: Path, fs: str) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "one").write_bytes(b"1")
    (source / "inner" / "two").write_bytes(b"2")
    files = {"/folder": source, "single": source / "one", "/three": b"3"}
    board = Board(
        tmp_path / "board", factory=False, files=files, config={"product_id": "P"}, fs=fs
    )
    board.install()
    assert board.listdir("/folder") == ["inner", "one"]
    assert board.read("/folder/inner/two") == b"2"
    assert board.read("/single") == b"1"
    assert board.read("/ivota.json") == b'{"product_id": "P"}'
    board.write("/new/file", b"later")
    assert board.read("/new/file") == b"later"
    board.install()
    assert "new" not in board.listdir()


@pytest.mark.parametrize("mpy", [False, True])
def test_the_factory_package(tmp_path: Path, mpy: bool) -> None:
    board = Board(tmp_path, mpy=mpy, config={}, files={"/main.py": b"import bundlefs"})
    board.install()
    end = ".mpy" if mpy else ".py"
    assert {"boot.py", "main.py", "ivota.json", "lib", f"bundlefs{end}"} == set(board.listdir())
    assert {"ivota", f"bundlefs{end}"} <= set(board.listdir("/lib"))
    assert f"update_client{end}" in board.listdir("/lib/ivota")
    assert board.listdir("/lib/umqtt") == [f"simple{end}"]
    if not mpy:
        assert board.read("/bundlefs.py") == board.read("/lib/bundlefs.py")
    assert board.read("/boot.py") == (CHECKOUT / "boot.py").read_bytes()
    assert board.read("/main.py") == b"import bundlefs"


def test_a_main_that_does_not_compile_to_mpy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)lib/x\.py does not compile: .*SyntaxError"):
        compile_mpy(b"def (:", "/lib/x.py")


def test_reset_is_a_new_process_on_the_same_flash(tmp_path: Path, bits: int, fs: str) -> None:
    main = """
import machine, os
print("cause", machine.reset_cause())
if "mark" not in os.listdir():
    leaked = open("/leaked", "w")
    leaked.write("never flushed")
    with open("/mark", "w") as f: f.write("flushed")
    try:
        machine.reset()
    finally:
        print("never here")
"""
    pids: list[int | None] = []

    def console(line: str) -> None:
        if line.startswith("cause"):
            pids.append(board.pid)

    board = _board(tmp_path, main, bits=bits, fs=fs, console=console)
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    assert len(set(pids)) == 2 and None not in pids
    assert _said(board) == ["cause 1", "sim: reset", "cause 2", "REPL", "sim: stopped"]
    assert (board.starts, board.resets, board.reset_cause) == (2, 1, 2)
    assert board.read("/mark") == b"flushed"
    if fs == "flash":
        assert board.read("/leaked") == b""


IMPORTS = """
import _thread, sys
def imports(name):
    for n in range(300):
        for module in ("m%d" % n for n in range(8)):
            __import__(module)
            sys.modules.pop(module, None)
    print(name, "is done")
"""
THREADS = {
    "both import": f"{IMPORTS}_thread.start_new_thread(imports, ('thread',))\nimports('main')\n",
    "a loop without a wait": f"""{IMPORTS}
done = []
_thread.start_new_thread(lambda: (imports("thread"), done.append(1)), ())
while not done:
    pass
print("main is done")
""",
    "a wait in the system": f"""{IMPORTS}
import socket
server = socket.socket()
server.bind(socket.getaddrinfo("127.0.0.1", 0)[0][-1])
server.listen(1)
server.settimeout(3)
_thread.start_new_thread(imports, ("thread",))
try:
    server.accept()
except OSError:
    print("main is done")
""",
    "a lock": f"""{IMPORTS}
lock = _thread.allocate_lock()
lock.acquire()
_thread.start_new_thread(lambda: (imports("thread"), lock.release()), ())
with lock:
    print("main is done")
""",
    "poll": f"""{IMPORTS}
import select
_thread.start_new_thread(imports, ("thread",))
for n in range(100):
    select.poll().poll(10)
print("main is done")
""",
}


@pytest.mark.parametrize("what", THREADS)
def test_threads_take_turns(tmp_path: Path, what: str) -> None:
    """The unix port has no lock between them: two that import would crash it."""
    modules = {f"/m{n}.py": f"X{n} = {{'a': [{n}]}}\n".encode() for n in range(8)}
    files: dict[str, bytes | Path] = {"/main.py": THREADS[what].encode(), **modules}
    board = Board(tmp_path, factory=False, files=files, turns=True)
    board.install()
    with board:
        board.power_on()
        board.wait_log("thread is done")
        board.wait_log("main is done")
        board.wait_log("^REPL$")
    assert sorted(_said(board)) == ["REPL", "main is done", "sim: stopped", "thread is done"]
    assert board.crashes == 0 and not board.failure


def test_a_crash_of_the_interpreter_is_no_end_of_a_board(tmp_path: Path) -> None:
    main = """
import machine
if machine.reset_cause() == machine.PWRON_RESET:
    machine._libc.func("i", "raise", "i")(11)
print("cause", machine.reset_cause())
"""
    board = Board(tmp_path, factory=False, files={"/main.py": main.encode()}, turns=True)
    board.install()
    with board:
        board.power_on()
        board.wait_log("^cause 2$")
    assert board.crashes == 1
    assert "sim: resetting the board, because the interpreter crashed (signal 11)" in board.log


@pytest.mark.parametrize("how", ["raise SystemExit", "import sys; sys.exit()", "soft_reset()"])
def test_soft_reset(tmp_path: Path, bits: int, how: str) -> None:
    main = f"""
from machine import reset_cause, soft_reset, SOFT_RESET
print(reset_cause() == SOFT_RESET)
if reset_cause() != SOFT_RESET:
    try:
        {how}
    finally:
        print("finally")
"""
    board = _board(tmp_path, main, bits=bits)
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    expected = ["False", "finally", "MPY: soft reboot", "sim: soft reset", "True", "REPL"]
    assert _said(board)[:-1] == expected
    assert board.reset_cause == 5


def test_the_watchdog_bites(tmp_path: Path, bits: int) -> None:
    main = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() != machine.WDT_RESET:
    wdt = machine.WDT(timeout=1500)  # longer than any pause of a busy machine
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < 2000:
        time.sleep_ms(1)
        wdt.feed()
    print("fed")
    time.sleep(60)
    print("not here")
"""
    board = _board(tmp_path, main, bits=bits)
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    assert _said(board)[:-1] == ["cause 1", "fed", "sim: watchdog reset", "cause 3", "REPL"]
    assert (board.resets, board.reset_cause) == (1, 3)


def test_a_crash_ends_in_the_repl_until_the_watchdog_bites(tmp_path: Path, bits: int) -> None:
    main = """
import machine
if machine.reset_cause() == 1:
    machine.WDT(0, 300)
    1 / 0
"""
    board = _board(tmp_path, main, bits=bits)
    with board:
        board.power_on()
        board.wait_log("sim: watchdog reset")
        board.wait_log("^REPL$", start=len(board.log) - 1)
    said = _said(board)
    assert said[0].startswith("Traceback")
    assert '  File "/main.py", line 5' in said[2]
    assert said[3:6] == ["ZeroDivisionError: divide by zero", "REPL", "sim: watchdog reset"]


@pytest.mark.parametrize("broken", ["1 / 0", "def (:"])
def test_main_does_not_run_when_boot_raised(tmp_path: Path, bits: int, broken: str) -> None:
    board = _board(tmp_path, "print('main')", files={"/boot.py": broken.encode()}, bits=bits)
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    assert "main" not in board.log
    assert re.search("ZeroDivisionError|SyntaxError", "\n".join(board.log))


def test_power_cuts_are_signal_9(tmp_path: Path, bits: int) -> None:
    main = """
import machine, time
print("cause", machine.reset_cause())
f = open("/x", "ab"); f.write("flushed."); f.flush(); f.write("lost")
print("running")
while True: pass
"""
    board = _board(tmp_path, main, bits=bits)
    with board:
        for n in range(3):
            start = len(board.log)
            board.power_on()
            board.wait_log("running", start=start)
            pid = board.pid
            board.power_cut()
            assert not board.on
            assert board.power_cuts == n + 1
            assert pid and not os.path.exists(f"/proc/{pid}")
            assert board.read("/x") == b"flushed." * (n + 1)
        board.power_cut()  # of what is off
        board.power_on()
    assert board.power_cuts == 3  # the end of a test is none
    assert _said(board)[:3] == ["cause 1", "running", "sim: power cut"]
    assert board.resets == 0


def test_a_power_cut_hits_a_board_that_resets_all_the_time(tmp_path: Path) -> None:
    board = _board(tmp_path, "import machine; machine.reset()")
    with board:
        board.power_on()
        wait_until(lambda: board.resets > 5, "the sixth reset")
        board.power_cut()
        assert not board.on
        resets = board.resets
        time.sleep(0.05)  # more time only for a start, which must not come
        assert board.resets == resets
        assert board.failure is None


def test_waiting_in_vain(tmp_path: Path) -> None:
    board = _board(tmp_path, "print('hello')")
    with pytest.raises(BoardError, match="the board is off"):
        board.wait_log("hello")
    with board:
        board.power_on()
        assert board.wait_log(r"^h(\w+)$")[1] == "ello"
        with pytest.raises(BoardError, match=r"no 'hello' on the console: waited 0\.3 s"):
            board.wait_log("hello", 0.3, start=2)
        with pytest.raises(BoardError, match=r"still on after 0\.1 s\n.*sim: heap"):
            board.wait_off(0.1)
    with pytest.raises(BoardError, match="the board is off"):
        board.wait_log("something else", 5)


def test_an_interpreter_that_breaks_is_no_power_cut(tmp_path: Path, bits: int) -> None:
    for number, breaks in (
        (6, "import ffi; ffi.open(None).func('v', 'abort', '')()"),
        (11, "import uctypes; uctypes.bytearray_at(8, 1)[0] = 1"),
    ):
        board = _board(tmp_path, breaks, bits=bits)
        with board:
            board.power_on()
            with pytest.raises(BoardError, match=f"the interpreter ended with signal {number}"):
                board.wait_off()
            with pytest.raises(BoardError, match=f"signal {number}"):
                board.power_on()
        assert board.power_cuts == 0
    board = _board(tmp_path, "", heap="2k", bits=bits)
    with board:
        board.power_on()
        with pytest.raises(BoardError, match="the interpreter ended with"):
            board.wait_off()


@pytest.mark.parametrize("bits", [32])
def test_the_simulators_own_heap_is_small_and_known(tmp_path: Path, bits: int, fs: str) -> None:
    board = _board(tmp_path, "import gc; gc.collect(); print(gc.mem_alloc())", heap="24k", fs=fs)
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    print(f"{fs}: the simulator takes {board.sim_heap} bytes of a {bits}-bit heap")
    assert 0 < board.sim_heap < (8192 if fs == "flash" else 4096)
    assert abs(int(_said(board)[0]) - board.sim_heap) < 1024


def test_many_starts_in_a_row(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, "import machine; machine.reset()", bits=bits)
    with board:
        board.power_on()
        start = time.monotonic()
        wait_until(lambda: board.starts >= 40, "the 40th start")
        each_ms = (time.monotonic() - start) / board.starts * 1000
        assert board.resets >= board.starts - 1 and board.power_cuts == 0
    print(f"{bits} bits: {each_ms:.1f} ms from one start to the next")


def test_no_board_outlives_its_host(tmp_path: Path) -> None:
    script = f"""
import os, time
from pathlib import Path
from ivota_tools.sim import Board
board = Board(Path({str(tmp_path)!r}), factory=False, files={{"/main.py": b"print('up')"}})
board.install()
board.power_on()
board.wait_log("up")
print(board.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    wait_until(lambda: not is_running(pid), "the board's end")


def test_the_console_hears_every_line(tmp_path: Path) -> None:
    heard: list[str] = []
    board = Board(
        tmp_path, factory=False, files={"/main.py": b"print('a\\nb')"}, console=heard.append
    )
    board.install()
    with board:
        board.power_on()
        board.wait_log("^REPL$")
    assert heard == board.log and heard[1:3] == ["a", "b"]


def test_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="flash or host"):
        Board(tmp_path, fs="floppy")
    board = Board(tmp_path, fs="host", factory=False)
    with pytest.raises(BoardError, match="no flash"):
        board.flash_counts()
