"""The simulated flash: NOR semantics, counters and every fault, on the real interpreter."""

from pathlib import Path

import pytest
from interpreters import EACH, for_boards

from ivota_tools.sim import Board, BoardError, Fault, Flash, FlashError
from ivota_tools.sim.filesystem import BLOCK

# Scratch blocks at the end of the flash, which littlefs is far from using.
FIRST = 500

# What a raw test starts with: `f`, the flash below the file system, and helpers.
RAW = """
import os, _sim_flash
f = _sim_flash.attach(os.getenv("IMAGE"), os.getenv("STATE"), 512)
def erase(n): f.ioctl(6, n)
def page(n, offset=0, size=4096):
    b = bytearray(size); f.readblocks(n, b, offset); return bytes(b)
"""


@pytest.fixture(params=EACH)
def bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    return for_boards(request.param, monkeypatch)


def _board(folder: Path, bits: int, main: str, files: dict[str, bytes] | None = None) -> Board:
    env = {"IMAGE": str(folder / "flash.img"), "STATE": str(folder / "flash.state")}
    contents = {**(files or {}), "/main.py": main.encode()}
    board = Board(folder, bits=bits, factory=False, files=contents, env=env)
    board.install()
    return board


def _run(board: Board) -> list[str]:
    """What it prints until it is in its REPL, or its flash has died."""
    start = len(board.log)
    board.power_on()
    try:
        board.wait_log("^REPL$", start=start)
    except BoardError:
        if board.failure or not board.deaths:
            raise
    board.stop()
    return [x for x in board.log[start:] if not x.startswith("sim: ") and x != "REPL"]


def _block(board: Board, number: int) -> bytes:
    assert board.flash
    image = board.flash.path.read_bytes()
    return image[number * BLOCK : (number + 1) * BLOCK]


def test_programs_erases_and_reads(tmp_path: Path, bits: int) -> None:
    board = _board(
        tmp_path,
        bits,
        RAW
        + f"""
print(f.ioctl(4, 0), f.ioctl(5, 0), f.ioctl(3, 0))
data = bytes(range(256)) * 16
f.writeblocks({FIRST}, data, 0)
print(page({FIRST}) == data)
erase({FIRST})
print(page({FIRST}) == b"\\xff" * 4096)
f.writeblocks({FIRST}, data[:32], 64)
f.writeblocks({FIRST}, data[32:64], 96)
print(page({FIRST}, 64, 64) == data[:64])
f.writeblocks({FIRST}, data * 2)  # without an offset it erases by itself
print(page({FIRST}) == data, page({FIRST} + 1) == data)
for args in ((512, data), (511, data * 2), (-1, data, 0), (511, data, 32), (0, data, -5000)):
    try:
        f.writeblocks(*args)
    except ValueError as e:
        print(e)
""",
    )
    before = board.flash_counts()
    assert set(before.values()) == {0}
    printed = _run(board)
    assert printed[:5] == ["512 4096 0", "True", "True", "True", "True True"]
    assert printed[5:] == ["the block is outside the flash"] * 4
    after = board.flash_counts()
    # those refused: (511, data * 2) erased and wrote one block; (0, …, -5000) has no offset
    assert after["erases"] == 1 + 2 + 1 + 1 + 1 - 1
    assert after["operations"] == after["erases"] + after["programs"]


def test_counts_exactly_and_for_ever(tmp_path: Path, bits: int) -> None:
    board = _board(
        tmp_path,
        bits,
        RAW
        + f"""
import machine
if machine.reset_cause() == machine.PWRON_RESET:
    erase({FIRST})
    f.writeblocks({FIRST}, bytes(32), 0)
    machine.reset()
f.writeblocks({FIRST}, bytes(128), 128)
""",
    )
    _run(board)
    counts = board.flash_counts()
    assert (counts["operations"], counts["programs"], counts["erases"]) == (3, 2, 1)
    assert counts["program_bytes"] == 160
    assert counts["reads"] > 0 and counts["read_bytes"] >= 32 * counts["reads"]
    assert counts["errors"] == 0


@pytest.mark.parametrize("old", [b"\x00", b"\xfe", b"\x7f"])
def test_programming_what_is_not_erased_is_fatal(tmp_path: Path, bits: int, old: bytes) -> None:
    board = _board(
        tmp_path,
        bits,
        RAW
        + f"""
f.writeblocks({FIRST}, {old!r} * 32, 32)
f.writeblocks({FIRST}, b"\\xff" * 32, 0)
print("fine")
f.writeblocks({FIRST}, {old!r} * 32, 32)
print("not reached")
""",
    )
    with pytest.raises(BoardError, match=f"block {FIRST}, offset 32: 32 bytes were programmed"):
        _run(board)
    assert "fine" in board.log and "not reached" not in board.log
    assert board.failure
    with pytest.raises(BoardError, match="without an erase"):
        board.power_on()
    assert board.power_cuts == 0


def test_allocates_nothing(tmp_path: Path, bits: int) -> None:
    board = _board(
        tmp_path,
        bits,
        """
import micropython
one = bytearray(4096)
file = open("/x", "wb")
file.write(one)
file.flush()
micropython.heap_lock()
for _ in range(20):
    file.write(one, 500)
file.flush()
micropython.heap_unlock()
file.close()
file = open("/x", "rb")
micropython.heap_lock()
while file.readinto(one):
    pass
micropython.heap_unlock()
file.close()
print("done")
""",
    )
    assert _run(board) == ["done"]


def test_a_leaked_file_is_written_without_a_word(tmp_path: Path, bits: int) -> None:
    main = """
import gc
def leak(n):
    open("/leaked%d" % n, "w").write("late")
for n in range(8):
    leak(n)
x = [[] for _ in range(50)]
gc.collect()
"""
    board = _board(tmp_path, bits, main)
    assert _run(board) == []
    # One that something on the stack still seems to point at may stay.
    assert b"late" in [board.read(f"/leaked{n}") for n in range(8)]


WRITER = """
import os
for n in range(6):
    with open("/new", "w") as file:
        file.write("%d" % n * 3000)
    os.rename("/new", "/file")
"""


def test_dies_before_any_operation_and_comes_back(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, WRITER, {"/kept": b"k" * 5000})
    assert board.flash
    fresh = board.flash.copy(tmp_path / "fresh.img")
    _run(board)
    total = board.flash_counts()["operations"]
    assert total > 100
    for at in (0, 1, 2, 5, total // 2, total - 2, total - 1):
        board = _board(tmp_path / str(at), bits, WRITER)
        fresh.copy(board.flash.path)  # type: ignore[union-attr]
        board.arm(Fault("die", at))
        board.power_on()
        board.wait_off()
        assert not board.on
        (death,) = board.deaths
        assert (death.operation, death.tear) == (at, "")
        assert death.on in ("program", "erase")
        assert board.flash_counts()["operations"] == at
        assert board.power_cuts == 1
        # from outside, and by the next process
        assert board.read("/kept") == b"k" * 5000
        files = board.listdir()
        if "file" in files:
            content = board.read("/file")
            assert len(content) == 3000 and content == content[:1] * 3000
        board.power_on()
        board.wait_log("^REPL$")
        board.stop()
        assert board.read("/file") == b"5" * 3000
        assert board.power_cuts == 1 and board.failure is None


def test_dies_before_that_kind_of_operation(tmp_path: Path, bits: int) -> None:
    for on, expected in (("erase", ("erase", 1)), ("program", ("program", 0))):
        board = _board(
            tmp_path / on,
            bits,
            RAW + f"f.writeblocks({FIRST}, bytes(32), 0); erase({FIRST}); erase({FIRST})",
        )
        board.arm(Fault("die", 0, on))
        _run(board)
        (death,) = board.deaths
        assert (death.on, death.operation) == expected
        assert (death.block, death.offset) == (FIRST, 0)
        assert death.size == (32 if on == "program" else 0)


def test_dies_before_a_read(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, RAW + "erase(500); page(500); print('not reached')")
    board.arm(Fault("die", 3, "read"))
    assert _run(board) == []
    assert board.flash_counts()["reads"] == 3
    assert board.deaths[0].on == "read"
    _run(board)
    assert "not reached" in board.log  # a fault happens once


DATA = bytes(range(7, 135))
TEAR = (
    RAW
    + f"""
erase({FIRST})
f.writeblocks({FIRST}, b"\\xff" * 128, 0)
f.writeblocks({FIRST}, bytes(range(7, 135)), 128)
"""
)


def _torn(folder: Path, bits: int, main: str, fault: Fault) -> Board:
    board = _board(folder, bits, main)
    board.arm(fault)
    _run(board)
    (death,) = board.deaths
    assert (death.tear, death.operation, death.block) == (fault.kind, fault.at, FIRST)
    assert board.flash_counts()["operations"] == fault.at
    return board


@pytest.mark.parametrize("kind", ["part", "random"])
def test_a_torn_program(tmp_path: Path, bits: int, kind: str) -> None:
    seen = set()
    for seed in range(4):
        fault = Fault(kind, 2, "program", seed)
        blocks = [
            _block(_torn(tmp_path / f"{seed}{again}", bits, TEAR, fault), FIRST)
            for again in (0, 1)
        ]
        assert blocks[0] == blocks[1]  # the seed decides
        seen.add(blocks[0])
        torn = blocks[0][128:256]
        assert blocks[0].replace(torn, b"") == b"\xff" * (BLOCK - 128)
        assert torn != DATA and torn != b"\xff" * 128
        done = next(n for n in range(129) if torn[: n + 1] != DATA[: n + 1])
        if kind == "part":
            assert torn == DATA[:done] + b"\xff" * (128 - done)
        else:
            unit = done // 32 * 32
            assert torn[unit + 32 :] == b"\xff" * len(torn[unit + 32 :])
            # of the last unit only bits that were to be cleared are
            assert all(t & d == d for t, d in zip(torn[unit:], DATA[unit:], strict=True))
    assert len(seen) == 4


def test_a_torn_erase(tmp_path: Path, bits: int) -> None:
    main = RAW + f"f.writeblocks({FIRST}, b'x' * 4096, 0); erase({FIRST})"
    for seed in (1, 2):
        fault = Fault("part", 1, "erase", seed)
        block = _block(_torn(tmp_path / f"p{seed}", bits, main, fault), FIRST)
        done = block.index(b"x")
        assert 0 < done < BLOCK
        assert block == b"\xff" * done + b"x" * (BLOCK - done)
    fault = Fault("random", 1, "erase", 3)
    blocks = [_block(_torn(tmp_path / f"r{n}", bits, main, fault), FIRST) for n in (1, 2)]
    assert blocks[0] == blocks[1]
    assert len(set(blocks[0])) > 200


def test_littlefs_bears_torn_writes(tmp_path: Path) -> None:
    board = _board(tmp_path, 32, WRITER, {"/kept": b"k" * 5000, "/file": b"o" * 3000})
    assert board.flash
    fresh = board.flash.copy(tmp_path / "fresh.img")
    for at in range(3, 60, 7):
        fresh.copy(board.flash.path)
        board.arm(Fault("random" if at % 2 else "part", at, seed=at))
        board.power_on()
        board.wait_off()
        assert board.deaths[-1].operation == at
        assert board.read("/kept") == b"k" * 5000
        assert len(board.read("/file")) == 3000
    _run(board)
    assert board.read("/file") == b"5" * 3000


ERRORS = (
    RAW
    + f"""
import time, vfs
vfs.mount(vfs.VfsPosix(os.getenv("FLAGS")), "/host")
def go(flag):
    while flag not in os.listdir("/host"):
        time.sleep(0.01)
def tell(name, error):
    print(name, -error if error else "fine")
def all(block):
    tell("erase", f.ioctl(6, block))
    tell("program", f.writeblocks(block, bytes(32), 0))
    tell("read", f.readblocks(block, bytearray(4096)))
all({FIRST})
print("ready")
go("armed")
all({FIRST + 1})
all({FIRST + 2})
print("asked")
go("healed")
all({FIRST + 3})
"""
)


@pytest.mark.parametrize(
    ("on", "bad"),
    [
        ("read", {"read"}),
        ("program", {"program"}),
        ("erase", {"erase"}),
        ("write", {"erase", "program"}),
        ("any", {"erase", "program", "read"}),
    ],
)
def test_errors_from_an_operation_on_until_healed(
    tmp_path: Path, bits: int, on: str, bad: set[str]
) -> None:
    board = _board(tmp_path, bits, ERRORS)
    flags = tmp_path / "flags"
    flags.mkdir()
    board.env["FLAGS"] = str(flags)
    board.power_on()
    board.wait_log("ready")
    board.arm(Fault("error", 0, on))  # a running board feels it at once
    (flags / "armed").touch()
    board.wait_log("asked")
    assert board.flash
    board.flash.disarm()
    (flags / "healed").touch()
    board.wait_log("REPL")
    board.stop()
    names = ("erase", "program", "read")
    fine = [f"{name} fine" for name in names]
    armed = [f"{name} {5 if name in bad else 'fine'}" for name in names]
    told = [x for x in board.log if x.split()[0] in names]
    assert told == fine + armed * 2 + fine
    assert board.flash_counts()["errors"] == 2 * len(bad)


def test_an_error_reaches_the_program_through_littlefs(tmp_path: Path, bits: int) -> None:
    main = """
try:
    with open("/x", "w") as file:
        file.write("x" * 20000)
except OSError as e:
    print("errno", e.errno)
print(open("/kept").read())
"""
    board = _board(tmp_path, bits, main, {"/kept": b"still here"})
    board.arm(Fault("error", 3))
    assert _run(board) == ["errno 5", "still here"]


def test_the_host_and_the_board_share_one_littlefs(tmp_path: Path, bits: int) -> None:
    main = """
import os
print(sorted(os.listdir("/given")), open("/given/deep/er").read(), len(open("/large").read()))
with open("/large", "ab") as file:
    file.write(b"e" * 5000)
with open("/made", "w") as file:
    file.write("by the board")
os.mkdir("/d"); os.remove("/given/b")
print(open("/extra").read() if "extra" in os.listdir() else "-")
"""
    files = {"/given/a": b"", "/given/b": b"2", "/given/deep/er": b"3", "/large": b"l" * 9000}
    board = _board(tmp_path, bits, main, files)
    assert _run(board) == ["['a', 'b', 'deep'] 3 9000", "-"]
    assert board.listdir("/") == ["d", "given", "large", "made", "main.py"]
    assert board.listdir("/given") == ["a", "deep"]
    assert board.read("/made") == b"by the board"
    assert board.read("/large") == b"l" * 9000 + b"e" * 5000
    with pytest.raises(FileNotFoundError):
        board.read("/given/b")
    assert board.flash
    assert set(board.flash.tree()) == {"/given/a", "/given/deep/er", "/large", "/made", "/main.py"}
    # and after a change from outside the board goes on
    board.write("/extra", b"from outside")
    board.write("/main.py", main.replace('os.mkdir("/d"); os.remove("/given/b")', "").encode())
    assert _run(board) == ["['a', 'deep'] 3 14000", "from outside"]
    assert len(board.read("/large")) == 19000
    assert board.failure is None


def test_reads_a_running_boards_flash(tmp_path: Path) -> None:
    main = "f = open('/x', 'w'); f.write('abc'); f.flush(); f.write('def'); print('flushed')"
    board = _board(tmp_path, 32, main)
    board.power_on()
    board.wait_log("flushed")
    assert board.read("/x") == b"abc"
    with pytest.raises(BoardError, match="the board is on"):
        board.write("/y", b"")
    board.power_cut()
    assert board.read("/x") == b"abc"


def test_fat_stands_on_it_too(tmp_path: Path, bits: int) -> None:
    main = (
        RAW
        + """
import vfs
class Part:
    def readblocks(self, n, buf): f.readblocks(n + 300, buf)
    def writeblocks(self, n, buf): f.writeblocks(n + 300, buf)
    def ioctl(self, op, arg): return 100 if op == 4 else f.ioctl(op, arg) if op != 6 else None
vfs.VfsFat.mkfs(Part())
vfs.mount(vfs.VfsFat(Part()), "/fat")
with open("/fat/x", "w") as file:
    file.write("fat" * 4000)
print(open("/fat/x").read() == "fat" * 4000)
"""
    )
    board = _board(tmp_path, bits, main)
    assert _run(board) == ["True"]


def test_a_whole_firmware_erases_each_block_once(tmp_path: Path, bits: int) -> None:
    main = """
import time
buf = bytes(range(256)) * 2
start = time.ticks_ms()
with open("/x", "w") as file:
    left, block, room = 708482, 0, 4096
    while left:
        n = min(512, room, left)
        file.write(buf, n)
        left -= n
        room -= n
        if not room:
            file.flush()
            block += 1
            room = 4092
            n = block
            while not n & 1:
                n >>= 1
                room -= 4
print("ms", time.ticks_diff(time.ticks_ms(), start))
"""
    board = _board(tmp_path, bits, main)
    printed = _run(board)
    counts = board.flash_counts()
    print(f"{bits} bits: 708,482 bytes, {printed[0]}; {counts}; heap {board.sim_heap}")
    assert len(board.read("/x")) == 708482
    assert counts["erases"] < 1.03 * 173


def test_a_copy_is_a_board_of_its_own(tmp_path: Path) -> None:
    board = _board(tmp_path / "a", 32, WRITER)
    board.arm(Fault("part", 30, seed=1))
    board.power_on()
    board.wait_off()
    assert board.flash
    copy = board.flash.copy(tmp_path / "b" / "flash.img")
    assert copy.digest() == board.flash.digest()
    assert copy.counts() == board.flash.counts()
    copy.write({"/only": b"there"})
    assert copy.digest() != board.flash.digest()
    copy.reset_state()
    assert set(copy.counts().values()) == {0}
    assert board.flash_counts()["operations"] == 30


def test_no_file_system(tmp_path: Path) -> None:
    flash = Flash(tmp_path / "flash.img", 512)
    flash.format()
    flash.path.write_bytes(b"\xff" * 512 * BLOCK)
    with pytest.raises(FlashError, match="no littlefs on flash.img"):
        flash.listdir()
    board = Board(tmp_path)
    board.power_on()
    board.wait_log("sim: no file system: ")
    board.wait_log("REPL")
    board.stop()


@pytest.mark.parametrize(
    "wrong", [("burn", 0, "any"), ("die", -1, "any"), ("die", 0, "x"), ("part", 0, "read")]
)
def test_faults_that_do_not_exist(wrong: tuple[str, int, str]) -> None:
    with pytest.raises(ValueError, match="not a valid fault"):
        Fault(*wrong)
