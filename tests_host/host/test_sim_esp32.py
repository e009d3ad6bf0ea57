"""The simulated ESP32: partitions, otadata and its boot loader, on the real interpreter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from interpreters import EACH, for_boards

from ivota_tools.sim import Board, BoardError, Fault, Flash, FlashError, operations
from ivota_tools.sim.esp32_image import SOURCE_MAGIC, is_valid, make_image
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.sim.otadata import (
    ABORTED,
    INVALID,
    NEW,
    PENDING_VERIFY,
    VALID,
    Entry,
    active,
    pack,
)

SLOTS = 4
BLANK = Entry(0xFFFFFFFF, 0xFFFFFFFF, False)
OLD, OTHER = make_image("0.1"), make_image("0.2", size=9008)

# Installs the image in /new, if there is one; "confirm" there says what a trial does.
MAIN = """
import os, esp32, ivota_image
P = esp32.Partition
running = P(P.RUNNING)
print("runs", ivota_image.VERSION, running.info()[4])
if "confirm" in os.listdir():
    P.mark_app_valid_cancel_rollback()
if "new" in os.listdir() and ivota_image.VERSION == "0.1":
    part = running.get_next_update()
    buf = bytearray(4096)
    with open("/new", "rb") as file:
        for n in range(part.ioctl(4, 0)):
            size = file.readinto(buf)
            if not size:
                break
            part.ioctl(6, n)
            part.writeblocks(n, memoryview(buf)[:size], 0)
    try:
        part.set_boot()
        os.remove("/new")
        print("set", P(P.BOOT).info()[4])
    except OSError as e:
        print("refused", e.errno)
"""


@pytest.fixture(params=EACH)
def bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    return for_boards(request.param, monkeypatch)


def _board(
    folder: Path,
    bits: int = 32,
    main: str = MAIN,
    files: dict[str, bytes] | None = None,
    image: bytes = OLD,
    record: bool = False,
    blocks: int = 64,
) -> Board:
    board = Board(
        folder,
        bits=bits,
        blocks=blocks,
        factory=False,
        files={"/main.py": main.encode(), **(files or {})},
        slots=SLOTS,
        image=image,
        record=record,
    )
    board.install()
    return board


def _run(board: Board) -> list[str]:
    """What it prints until it is in its REPL, or its flash has died."""
    start = len(board.log)
    deaths = len(board.deaths)
    board.power_on()
    try:
        board.wait_log("^(REPL|sim: no bootable app)$", start=start)
    except BoardError:
        if board.failure or len(board.deaths) == deaths:
            raise
    board.stop()
    return [x for x in board.log[start:] if not x.startswith("sim: ") and x != "REPL"]


def _flash(board: Board) -> Flash:
    assert board.flash
    return board.flash


def test_blank_otadata_boots_ota_0(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits)
    flash = _flash(board)
    assert flash.otadata() == (BLANK, BLANK)
    assert flash.would_boot() == "ota_0" and board.booted is None
    assert _run(board) == ["runs 0.1 ota_0"]
    assert flash.otadata() == (Entry(1, VALID, True), BLANK)
    assert board.booted == "ota_0"
    counts = board.flash_counts()
    assert (counts["erases"], counts["programs"]) == (1, 1)
    assert _run(board) == ["runs 0.1 ota_0"]
    assert board.flash_counts()["operations"] == 2


def test_a_new_image_goes_back_unless_it_is_confirmed(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, files={"/new": OTHER})
    flash = _flash(board)
    assert _run(board) == ["runs 0.1 ota_0", "set ota_1"]
    assert flash.slot("ota_1").startswith(OTHER)
    assert flash.otadata() == (Entry(1, VALID, True), Entry(2, NEW, True))
    assert flash.would_boot() == "ota_1"
    assert _run(board) == ["runs 0.2 ota_1"]
    assert flash.otadata()[1] == Entry(2, PENDING_VERIFY, True)
    assert flash.would_boot() == "ota_0" and board.booted == "ota_1"
    assert _run(board) == ["runs 0.1 ota_0"]
    assert flash.otadata() == (Entry(1, VALID, True), Entry(2, ABORTED, True))
    # and may be tried again, in the sector of the one that was given up
    board.write("/new", OTHER)
    board.write("/confirm", b"")
    assert _run(board)[-1] == "set ota_1"
    assert flash.otadata() == (Entry(1, VALID, True), Entry(2, NEW, True))
    for _ in range(2):
        assert _run(board) == ["runs 0.2 ota_1"]
        assert flash.otadata() == (Entry(1, VALID, True), Entry(2, VALID, True))


def _pass(board: Board, otadata: tuple[bytes, bytes], images: tuple[bytes, bytes]) -> None:
    flash = _flash(board)
    for number in (0, 1):
        flash.write_otadata(number, otadata[number])
        flash.write_slot(f"ota_{number}", images[number])


def test_which_slot_boots(tmp_path: Path, bits: int) -> None:
    """Every pair of entries that differ in kind: the host foretells what the board does."""
    broken = bytearray(pack(3, VALID))
    broken[-1] ^= 1
    first = [b"", *(pack(1, state) for state in (NEW, PENDING_VERIFY, VALID, ABORTED, INVALID))]
    second = [
        *(b"", pack(1, VALID), pack(2, NEW), pack(2, PENDING_VERIFY), pack(2, VALID)),
        *(pack(2, ABORTED), bytes(broken), pack(0, VALID), bytes(32)),
    ]
    board = _board(tmp_path, bits, main="")
    seen = set()
    for one in first:
        for two in second:
            _pass(board, (one, two), (OLD, OTHER))
            flash = _flash(board)
            expected = flash.would_boot()
            entries = [_given_up(entry) for entry in flash.otadata()]
            chosen = active(entries)
            if chosen and chosen.state == NEW:
                entries[entries.index(chosen)] = replace(chosen, state=PENDING_VERIFY)
            elif not any(entry.crc_ok for entry in entries) and _said_nothing(entries):
                entries[0] = Entry(1, VALID, True)
            _run(board)
            assert board.booted == expected, (one, two)
            assert list(flash.otadata()) == entries, (one, two)
            seen.add(expected)
    assert seen == {"ota_0", "ota_1"}


def _given_up(entry: Entry) -> Entry:
    return replace(entry, state=ABORTED) if entry.state == PENDING_VERIFY else entry


# The boot loader makes an entry of its own only where there was none, not where both are broken.
def _said_nothing(entries: list[Entry]) -> bool:
    return all(entry.seq == BLANK.seq or entry.state in (ABORTED, INVALID) for entry in entries)


@pytest.mark.parametrize("which", ["", "0", "1", "01"])
def test_an_image_that_is_not_whole_is_passed_over(tmp_path: Path, bits: int, which: str) -> None:
    bad = bytearray(OTHER)
    bad[5000] ^= 4
    assert is_valid(OTHER) and not is_valid(bytes(bad))
    images = (bytes(bad) if "0" in which else OLD, bytes(bad) if "1" in which else OTHER)
    board = _board(tmp_path, bits)
    for one, two in (
        (b"", b""),
        (pack(1, VALID), pack(2, VALID)),
        (pack(3, VALID), pack(2, VALID)),
    ):
        _pass(board, (one, two), images)
        chosen = _flash(board).would_boot()
        board.booted = None
        printed = _run(board)
        assert board.booted == chosen
        assert chosen is None or printed[0].endswith(chosen)
        wanted = "ota_1" if one == pack(1, VALID) else "ota_0"
        if which == "01":
            assert chosen is None and not printed
            assert "sim: no bootable app" in board.log
        else:
            assert (chosen == wanted) == (wanted[-1] not in which)


def test_a_new_image_that_is_damaged_later(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, files={"/new": OTHER})
    _run(board)
    flash = _flash(board)
    image = bytearray(flash.slot("ota_1"))
    image[8000] ^= 1
    flash.write_slot("ota_1", bytes(image))
    # as esp-idf: it is marked before it is looked at
    assert _run(board) == ["runs 0.1 ota_0"]
    assert flash.otadata()[1].state == PENDING_VERIFY
    assert _run(board) == ["runs 0.1 ota_0"]
    assert flash.otadata()[1].state == ABORTED


def test_set_boot_refuses_what_the_boot_loader_would(tmp_path: Path, bits: int) -> None:
    """One program judges many images on the board; the host's check says the same."""
    padded = 24 + 8 + 256 + len(SOURCE_MAGIC)
    images = {"whole": OTHER, "least": OLD, "with a trailer": OTHER + b"trailer", "empty": b""}
    for at in (0, 1, 4, 12, 23, 28, 29, 31, padded, 300, 8000, len(OTHER) - 33, len(OTHER) - 1):
        image = bytearray(OTHER)
        image[at] ^= 1
        images[f"byte {at}"] = bytes(image)
    for size in (10, 24, 30, 4096, len(OTHER) - 1):
        images[f"{size} bytes"] = OTHER[:size]
    images["other chip"] = make_image("0.2", chip=9)
    images["fills the slot"] = make_image("0.2", size=SLOTS * BLOCK)
    images["too large"] = make_image("0.2", size=SLOTS * BLOCK + 16)[: SLOTS * BLOCK]
    images["too many segments"] = OTHER[:1] + b"\x11" + OTHER[2:]
    images["no segment"] = OTHER[:1] + b"\0" + OTHER[2:]
    images["not asked for a digest"] = OTHER[:23] + b"\0" + OTHER[24:-1] + b"x"
    main = """
import os, esp32
part = esp32.Partition(1).get_next_update()
for name in sorted(os.listdir("/images")):
    with open("/images/" + name, "rb") as file:
        data = file.read()
    for n in range(part.ioctl(4, 0)):
        part.writeblocks(n, (data[n * 4096:(n + 1) * 4096] + b"\xff" * 4096)[:4096])
    try:
        part.set_boot()
        print(name, "fine")
    except OSError as e:
        print(name, e.errno)
"""
    names = {f"{n:02}": name for n, name in enumerate(images)}
    files = {f"/images/{number}": images[name] for number, name in names.items()}
    board = _board(tmp_path, bits, main, files, blocks=512)
    printed = [line.split() for line in _run(board)]
    size = SLOTS * BLOCK
    found = {names[number]: said for number, said in printed}
    assert found == {
        name: "fine" if is_valid(data.ljust(size, b"\xff")) else "-5379"
        for name, data in images.items()
    }
    fine = {name for name, said in found.items() if said == "fine"}
    # what neither checksum nor digest covers, or is without meaning
    assert fine == {
        *("whole", "least", "with a trailer", "fills the slot"),
        "not asked for a digest",
        "byte 23",
    }


def test_the_sequence_grows_and_the_sectors_alternate(tmp_path: Path, bits: int) -> None:
    main = """
import esp32
P = esp32.Partition
P.mark_app_valid_cancel_rollback()
P(P.RUNNING).get_next_update().set_boot()
"""
    board = _board(tmp_path, bits, main)
    flash = _flash(board)
    flash.write_slot("ota_1", OTHER)
    for seq in range(2, 6):
        _run(board)
        entries = flash.otadata()
        assert entries[(seq - 1) % 2] == Entry(seq, NEW, True)
        assert entries[seq % 2] == Entry(seq - 1, VALID, True)
        assert board.booted == ("ota_0", "ota_1")[seq % 2]
    # back to the one that runs: the new one is never started
    board.write("/main.py", b"import esp32; p = esp32.Partition(1); p.set_boot()")
    _run(board)
    booted = board.booted
    _run(board)
    assert board.booted == booted


def test_confirming_where_otadata_says_nothing(tmp_path: Path, bits: int) -> None:
    main = """
import esp32
try:
    esp32.Partition.mark_app_valid_cancel_rollback()
except OSError as e:
    print(e.errno)
esp32.Partition(1).get_next_update().set_boot()
"""
    board = _board(tmp_path, bits, main)
    broken = bytearray(pack(1, VALID))
    broken[0] = 9
    _pass(board, (bytes(broken), b""), (OLD, OTHER))
    assert _run(board) == ["-1"]
    assert _flash(board).otadata() == (Entry(2, NEW, True), BLANK)
    # esp-idf would start it for the first time, and go back to ota_0
    for label in ("ota_1", "ota_0"):
        assert _flash(board).would_boot() == label
        _run(board)
        assert board.booted == label
        _flash(board).write_slot("ota_1", OTHER)
        board.write("/main.py", b"")


# The whole life of an update, on its own, in one power-on: its `confirm` is there from the start.
LIFE = (
    MAIN
    + """
import machine
if P(P.BOOT).info()[4] != running.info()[4]:
    machine.reset()
if ivota_image.VERSION == "0.2" and "confirm" not in os.listdir() and "tried" not in os.listdir():
    open("/tried", "w").close()
    machine.reset()
"""
)


@pytest.mark.parametrize("confirmed", [True, False])
def test_every_cut_leaves_a_board_that_boots(tmp_path: Path, bits: int, confirmed: bool) -> None:
    files = {"/new": OTHER, **({"/confirm": b""} if confirmed else {})}
    board = _board(tmp_path, bits, LIFE, files, record=True)
    fresh = _flash(board).copy(tmp_path / "fresh.img")
    _run(board)
    assert board.booted == ("ota_1" if confirmed else "ota_0")
    assert board.record
    done = list(operations(board.record))
    total = board.flash_counts()["operations"]
    assert len(done) == total
    image = bytearray(fresh.path.read_bytes())
    for operation in done:
        operation.apply(image)
    assert image == _flash(board).path.read_bytes()
    # first start; set_boot; NEW to PENDING_VERIFY; confirmed or aborted
    ours = [n for n, operation in enumerate(done) if operation.block in (64, 65)]
    assert len(ours) == 8
    kinds = set()
    for at in range(total):
        for kind, seed in (("die", 0), ("part", 0), ("part", 1), ("random", 0), ("random", 1)):
            fresh.copy(_flash(board).path)
            board.arm(Fault(kind, at, seed=seed))
            _run(board)
            death = board.deaths[-1]
            assert (death.operation, death.block) == (at, done[at].block)
            if at in ours:
                kinds.add((death.on, death.tear))
            expected = _flash(board).would_boot()
            start = len(board.log)
            _run(board)
            assert board.log[start] == f"sim: boots {expected}", (at, kind, seed)
            assert board.failure is None
            runs = [line for line in board.log[start:] if line.startswith("runs")]
            assert set(runs) <= {"runs 0.1 ota_0", "runs 0.2 ota_1"} and runs
    assert len(kinds) == 6


def test_cuts_in_the_boot_loader(tmp_path: Path, bits: int) -> None:
    """Each of its writes, cut before: what then boots, and what otadata holds."""
    cases = [
        # before; the cut operation of its own; after; what boots
        ((b"", b""), 0, (BLANK, BLANK), "ota_0"),
        ((b"", b""), 1, (BLANK, BLANK), "ota_0"),
        ((pack(1, VALID), pack(2, NEW)), 0, (Entry(1, VALID, True), Entry(2, NEW, True)), "ota_1"),
        ((pack(1, VALID), pack(2, NEW)), 1, (Entry(1, VALID, True), BLANK), "ota_0"),
        (
            (pack(1, VALID), pack(2, PENDING_VERIFY)),
            0,
            (Entry(1, VALID, True), Entry(2, PENDING_VERIFY, True)),
            "ota_0",
        ),
        ((pack(1, VALID), pack(2, PENDING_VERIFY)), 1, (Entry(1, VALID, True), BLANK), "ota_0"),
    ]
    board = _board(tmp_path, bits)
    for before, cut, after, boots in cases:
        _pass(board, before, (OLD, OTHER))
        board.arm(Fault("die", board.flash_counts()["operations"] + cut))
        board.booted = None
        assert _run(board) == []
        assert board.booted is None and not board.on
        assert board.deaths[-1].on == ("erase", "program")[cut]
        assert _flash(board).otadata() == after
        assert _flash(board).would_boot() == boots
        assert _run(board)[0].endswith(boots)


def test_the_boot_loader_on_a_failing_flash(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, main="print('up')")
    _pass(board, (pack(1, VALID), pack(2, NEW)), (OLD, OTHER))
    board.arm(Fault("error", 0))
    assert _run(board) == ["up"] and board.booted == "ota_1"
    assert "sim: cannot write otadata" in board.log
    assert _flash(board).otadata()[1].state == NEW
    board.arm(Fault("error", 0, "read"))
    assert _run(board) == []
    assert "sim: no bootable app" in board.log
    _flash(board).disarm()
    assert _run(board) == ["up"]


def test_partitions(tmp_path: Path, bits: int) -> None:
    main = """
import esp32
P = esp32.Partition
for kind in (P.TYPE_APP, P.TYPE_DATA):
    for part in P.find(kind):
        print(part.info())
print(len(P.find()), [p.info()[4] for p in P.find(P.TYPE_APP, 0x11)], P.find(label="x"))
print(P("vfs").info()[4], P(P.BOOT).info()[4], P(P.RUNNING).info()[4])
print(P("ota_1").get_next_update().info()[4], P("vfs").get_next_update().info()[4])
part = P("ota_1", block_size=4096)
print([part.ioctl(op, 0) for op in range(1, 8)])
buf = bytearray(4096)
part.writeblocks(0, bytes(range(256)) * 32)
part.readblocks(1, buf)
print(buf == bytes(range(256)) * 16)
part.readblocks(1, memoryview(buf)[:4], 4094)
print(bytes(buf[:4]))
part.ioctl(6, 0)
part.writeblocks(0, b"abc", 5)
part.writeblocks(0, b"def", 8)
part.readblocks(0, buf)
print(bytes(buf[4:12]), buf[100])
def fails(function, *args):
    try:
        function(*args)
        print("fine")
    except (OSError, ValueError) as e:
        print(type(e).__name__, e.args[0])
fails(part.readblocks, 4, buf)
fails(part.readblocks, 3, buf, 1)
fails(part.readblocks, -1, buf)
fails(part.writeblocks, 4, buf)
fails(part.writeblocks, 3, buf, 1)
fails(part.writeblocks, 0, buf[:100])
fails(part.ioctl, 6, 4)
fails(P, "nothing")
fails(P, 2)
fails(P, "ota_1", 512)
fails(P("vfs").set_boot)
"""
    board = _board(tmp_path, bits, main)
    size = SLOTS * BLOCK
    assert _run(board) == [
        f"(0, 16, {66 * BLOCK}, {size}, 'ota_0', False)",
        f"(0, 17, {66 * BLOCK + size}, {size}, 'ota_1', False)",
        f"(1, 0, {64 * BLOCK}, {2 * BLOCK}, 'otadata', False)",
        f"(1, 129, 0, {64 * BLOCK}, 'vfs', False)",
        "2 ['ota_1'] []",
        "vfs ota_0 ota_0",
        "ota_0 ota_0",
        f"[0, 0, 0, {SLOTS}, 4096, 0, None]",
        "True",
        "b'\\xfe\\xff\\xff\\xff'",
        "b'\\xffabcdef\\xff' 255",
        *["OSError -260"] * 7,
        "OSError 2",
        "OSError 2",
        "ValueError block_size must be 4096",
        "OSError -258",
    ]


def test_programming_a_slot_that_is_not_erased_is_fatal(tmp_path: Path, bits: int) -> None:
    main = """
import esp32
part = esp32.Partition("ota_1")
part.writeblocks(1, b"abc", 0)
part.writeblocks(1, b"abc", 0)
print("not reached")
"""
    board = _board(tmp_path, bits, main)
    with pytest.raises(BoardError, match=f"block {64 + 2 + SLOTS + 1}, offset 0: 3 bytes"):
        _run(board)
    assert "not reached" not in board.log


@pytest.mark.parametrize("how", ["ioctl(6, 0)", "writeblocks(3, b'x', 0)", "writeblocks(3, all)"])
def test_writing_to_what_runs_is_fatal(tmp_path: Path, bits: int, how: str) -> None:
    main = f"import esp32; all = bytes(4096); esp32.Partition('ota_0').{how}; print('not reached')"
    board = _board(tmp_path, bits, main)
    with pytest.raises(BoardError, match="signal 6"):
        _run(board)
    assert "sim: attempt to write to the running partition" in board.log
    assert "not reached" not in board.log and _flash(board).slot("ota_0").startswith(OLD)


def test_a_failing_flash_is_an_error_of_the_partition(tmp_path: Path, bits: int) -> None:
    main = """
import esp32
part = esp32.Partition("ota_1")
for call in (lambda: part.readblocks(0, bytearray(8)), lambda: part.ioctl(6, 0),
             lambda: part.writeblocks(0, b"x", 0), lambda: part.writeblocks(0, bytes(4096)),
             part.set_boot, esp32.Partition.mark_app_valid_cancel_rollback):
    try:
        call()
        print("fine")
    except OSError as e:
        print(e.errno)
"""
    board = _board(tmp_path, bits, main)
    flash = _flash(board)
    _pass(board, (pack(1, NEW), b""), (OLD, OTHER))
    board.arm(Fault("error", 2))  # after the boot loader's
    failed = "-24577"
    assert _run(board) == ["fine", failed, failed, failed, failed, failed]
    assert flash.otadata()[0] == Entry(1, PENDING_VERIFY, True)
    flash.disarm()
    board.arm(Fault("error", 10**6, "read"))
    _pass(board, (pack(1, VALID), b""), (OLD, OTHER))
    assert _run(board) == ["fine"] * 4 + ["-5379", "fine"]


def test_blocks_are_written_and_read_without_an_allocation(tmp_path: Path, bits: int) -> None:
    main = """
import esp32, micropython
part = esp32.Partition("ota_1")
buf = bytearray(512)
def all():
    for n in range(3):
        part.ioctl(6, n)
        for at in range(0, 4096, 512):
            part.writeblocks(n, buf, at)
            part.readblocks(n, buf, at)
micropython.heap_lock()
all()
micropython.heap_unlock()
print("done")
"""
    assert _run(_board(tmp_path, bits, main)) == ["done"]


def test_what_the_image_holds_runs_at_its_start(tmp_path: Path, bits: int) -> None:
    source = """
import os, esp32
COUNT = 0
def count():
    global COUNT
    COUNT += 1
    return COUNT
print("starts", VERSION, sorted(os.listdir()), esp32.Partition(1).info()[4])
"""
    main = """
import sys, ivota_image
from ivota_image import VERSION, count
count()
print(VERSION, count(), ivota_image.COUNT, __name__, sorted(x for x in sys.modules if "sim" in x))
print(sys.path)
"""
    board = _board(tmp_path, bits, main, image=make_image("7.é'\"", source))
    assert _run(board) == [
        "starts 7.é'\" ['main.py'] ota_0",
        "7.é'\" 2 2 __main__ ['_sim_flash', '_sim_run']",
        "['', '.frozen', '/lib']",
    ]


@pytest.mark.parametrize("source", ["import machine; machine.reset()", "1 / 0", "def (:"])
def test_an_image_that_fails_at_its_start_goes_back(
    tmp_path: Path, bits: int, source: str
) -> None:
    board = _board(tmp_path, bits, files={"/new": make_image("0.2", source)})
    _run(board)
    printed = _run(board)
    assert ("Error" in "".join(printed)) == ("machine" not in source)
    assert board.resets == 1 and board.booted == "ota_0"
    assert board.log[-3:] == ["runs 0.1 ota_0", "REPL", "sim: stopped"]
    assert _flash(board).otadata()[1].state == ABORTED


@pytest.mark.parametrize("fs", ["flash", "host"])
def test_a_board_without_slots_has_no_esp32(tmp_path: Path, bits: int, fs: str) -> None:
    main = b"""
import sys
for name in ("esp32", "ivota_image", "_sim_ota"):
    try:
        __import__(name)
    except ImportError:
        print("no", name)
"""
    board = Board(tmp_path, bits=bits, factory=False, files={"/main.py": main}, fs=fs)
    board.install()
    assert _run(board) == ["no esp32", "no ivota_image", "no _sim_ota"]
    if fs == "flash":
        assert _flash(board).path.stat().st_size == 512 * BLOCK
        with pytest.raises(FlashError, match="no slots"):
            _flash(board).slot("ota_0")
        with pytest.raises(FlashError, match="no slots"):
            _flash(board).otadata()


@pytest.mark.parametrize("bits", [32])
def test_the_partitions_heap_is_small_and_known(tmp_path: Path, bits: int) -> None:
    board = _board(tmp_path, bits, "")
    _run(board)
    other = Board(tmp_path / "without", bits=bits, factory=False, files={"/main.py": b""})
    other.install()
    _run(other)
    print(f"esp32, its names and the image's module: {board.sim_heap - other.sim_heap} bytes")
    assert 0 < board.sim_heap - other.sim_heap < 4608


def test_files_beside_the_slots(tmp_path: Path, bits: int) -> None:
    main = """
import os
print(os.statvfs("/")[2], os.statvfs("/fat")[0])
with open("/x", "w") as file: file.write("x" * 9000)
"""
    board = Board(
        tmp_path / "a",
        bits=bits,
        blocks=64,
        factory=False,
        files={"/main.py": main.encode()},
        slots=SLOTS,
        image=OLD,
        fat_blocks=100,
    )
    board.install()
    flash = _flash(board)
    flash.write_slot("ota_1", OTHER)
    board.write("/y", b"from outside")
    assert _run(board) == ["64 4096"]
    assert board.read("/x") == b"x" * 9000 and board.read("/y") == b"from outside"
    copy = flash.copy(tmp_path / "b" / "flash.img")
    for each in (flash, copy):
        assert each.slot("ota_0").startswith(OLD) and each.slot("ota_1").startswith(OTHER)
        assert each.otadata()[0] == Entry(1, VALID, True)
        assert each.path.stat().st_size == each.size == (64 + 2 + 2 * SLOTS) * BLOCK
        assert set(each.tree()) == {"/main.py", "/x", "/y"}
    assert copy.digest() == flash.digest()
    board.install()
    assert flash.otadata() == (BLANK, BLANK) and set(flash.slot("ota_1")) == {0xFF}


def test_images() -> None:
    assert OLD == make_image("0.1") != make_image("0.2") and len(OLD) % 16 == 0
    for size in (*range(9000, 9033), 708_482):
        image = make_image("0.2", size=size)
        assert len(image) == size and is_valid(image)
        assert is_valid(image[: size // 16 * 16]) and not is_valid(image[: size // 16 * 16 - 16])
    assert image[32:36] == b"\x32\x54\xcd\xab" and b"0.2" in image[48:80]
    with pytest.raises(ValueError, match=r"an image of 0\.1 needs at least 368 bytes"):
        make_image("0.1", size=367)
    assert is_valid(make_image("0.1", size=368))


def test_an_esp32_without_slots(tmp_path: Path) -> None:
    """As MicroPython's plain variant on a real one: nothing names what boots, or comes next."""
    main = """
from esp32 import Partition
running = Partition(Partition.RUNNING)
print(running.info()[0:2], running.info()[4], len(Partition.find(Partition.TYPE_APP)))
boot, slot = lambda: Partition(Partition.BOOT), lambda: Partition("ota_0")
confirm = Partition.mark_app_valid_cancel_rollback
for call in (boot, running.get_next_update, slot, confirm, running.set_boot):
    try:
        call()
    except OSError as error:
        print(error.errno)
"""
    board = Board(tmp_path, plain=True, factory=False, files={"/main.py": main.encode()})
    board.install()
    assert _run(board) == ["(0, 0) factory 1", "2", "2", "2", "-261", "-261"]


def test_slots_that_can_not_be(tmp_path: Path) -> None:
    for options in ({"slots": 4}, {"image": OLD}):
        with pytest.raises(ValueError, match="slots need an image"):
            Board(tmp_path, **options)  # type: ignore[arg-type]
    for options in ({"slots": 4, "image": OLD}, {"plain": True}):
        with pytest.raises(ValueError, match="no flash"):
            Board(tmp_path, fs="host", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no slots"):
        Board(tmp_path, plain=True, slots=4, image=OLD)
    with pytest.raises(ValueError, match="do not fit into a slot of 4096"):
        Board(tmp_path, slots=1, image=OTHER).install()
