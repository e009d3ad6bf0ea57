"""Deltas and compressed firmware on simulated boards of 32 bits: signed, cut, refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from badserver import BadServer
from board_support import MakeBoard, settings
from test_signed import CRASHES, Field, Make, changed, esp32, field, keys, make
from waiting import WAIT_S, wait_until
from wire import Wire

from ivota_tools.api_client import Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.firmware import patch
from ivota_tools.firmware.signed_file import split
from ivota_tools.sim import Board
from ivota_tools.sim.esp32_image import make_image
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.sim.flash import Fault
from ivota_workshop.bench import patched
from ivota_workshop.bench.download.lane import Outcome

__all__ = ["esp32", "field", "keys", "make"]  # fixtures

WRONG = "wrong base: the patch is for version "


@pytest.fixture
def unsigned(agent: MakeBoard, wire: Wire, server: BadServer) -> Callable[..., Field]:
    """Makes a field with a board that runs 0.1 and asks for no signature."""

    def field(**changes: Any) -> Field:
        board = agent(**changes)
        board.power_on()
        wire.wait_version("0.1")
        return Field(board, wire, server)

    return field


def delta(base: bytes, result: bytes, version: str, kind: str = "bundle") -> bytes:
    """The patch from one firmware file to another."""
    return patch.make(split(base)[0], result, base_version=version, kind=kind)


def end(field: Field, version: str, data: bytes) -> tuple[str, str]:
    progress = field.push(version, data).json["report"]["progress"]
    return progress["state"], progress["result_msg"]


@pytest.mark.matrix
@pytest.mark.slow
def test_signed_deltas_one_upon_the_other(field: Callable[..., Field], make: Make) -> None:
    """What is on flash after each is what a full update would have left there."""
    it = field()
    first = make("0.2", 5, files={"data.bin": random.Random(1).randbytes(60_000)})
    it.accepts("0.2", first)
    before = first
    for n, version in enumerate(("0.3", "0.4"), start=6):
        data = bytearray(random.Random(1).randbytes(60_000))
        data[1000 * n : 1000 * n + 500] = random.Random(n).randbytes(500)
        full = make(version, n, files={"data.bin": bytes(data)})
        small = make.signer(n).sign(delta(before, full, "0.2"), version, "patch")
        assert len(small) < len(full) // 10
        it.accepts(version, small)
        assert it.board.read(f"/firmware/{version}.new") == full
        assert it.state()["sequence"] == n
        before = full
    assert sorted(it.board.listdir("/firmware")) == ["0.2.bin", "0.3.new", "0.4.new"]
    # One that was signed before is not taken again, as a delta as little as in full.
    old = make("0.9", 6)
    refused = make.signer(9).sign(delta(before, old, "0.4"), "0.9", "patch")
    assert end(it, "0.9", refused) == (
        "fail",
        "signature: sequence 6 is not above the confirmed 7: downgrade blocked",
    )
    assert sorted(it.board.listdir("/firmware")) == ["0.3.new", "0.4.new"]
    it.board.stop()
    assert it.board.failure is None


@pytest.mark.slow
def test_what_runs_was_signed_and_not_only_the_patch(
    field: Callable[..., Field], make: Make
) -> None:
    it = field()
    base = make("0.2", 1)
    it.accepts("0.2", base)
    good = make("0.3", 5)
    payload = split(good)[0]
    for result, why in (
        (payload, "the file is not signed"),
        (make("0.3", 5, key="thief"), "not signed by a trusted key"),
        (make("0.3", 5, target="kettle"), "it is for target kettle"),
        (make("0.4", 5), "it is for version 0.4"),
        (changed(good, 5000), "the payload does not match the signed SHA-256"),
        (make.signer(5).sign(payload, "0.3", "patch"), "the payload is not of the signed kind"),
    ):
        small = make.signer(5).sign(delta(base, result, "0.2"), "0.3", "patch")
        state, message = end(it, "0.3", small)
        assert state == "fail" and message.startswith(f"signature: {why}"), message
        assert it.board.listdir("/firmware") == ["0.2.bin"]
    small = delta(base, good, "0.2")
    for data, why in (
        (small, "the file is not signed"),
        (make.signer(5, "thief").sign(small, "0.3", "patch"), "not signed by a trusted key"),
        (make.signer(5).sign(small, "0.3", "bundle"), "the payload is not of the signed kind"),
    ):
        lines = len(it.board.log)
        assert end(it, "0.3", data)[1].startswith(f"signature: {why}")
        assert not [line for line in it.board.log[lines:] if "expand" in line]
    it.accepts("0.3", make.signer(5).sign(small, "0.3", "patch"))
    assert it.board.read("/firmware/0.3.new") == good


@pytest.mark.matrix
def test_a_wrong_base_and_then_the_full_firmware(
    unsigned: Callable[..., Field], server: BadServer, make: Make
) -> None:
    it = unsigned()
    base, other, full = make("0.2"), make("0.2.1"), make("0.3")
    # The factory package is no base.
    assert end(it, "0.3", delta(base, full, "0.2")) == ("fail", WRONG + "0.2")
    it.accepts("0.2", make("0.2", files={"more": b"of other bytes"}))
    assert end(it, "0.4", delta(base, full, "0.2")) == ("fail", WRONG + "0.2")
    assert end(it, "0.4", delta(other, full, "0.2.1")) == ("fail", WRONG + "0.2.1")
    assert it.board.listdir("/firmware") == ["0.2.bin"]
    # The answer to the same is given without a download.
    asked = len(server.requests)
    assert end(it, "0.4", delta(base, full, "0.2")) == ("fail", WRONG + "0.2")
    assert len(server.requests) == asked
    it.accepts("0.3", full)


@pytest.mark.matrix
def test_a_compressed_firmware(unsigned: Callable[..., Field], make: Make) -> None:
    it = unsigned()
    full = make("0.2", files={"text": b"what can be said in less words. " * 900})
    small = patch.make(b"", full)
    assert len(small) < len(full) * 0.7
    it.accepts("0.2", small)
    assert it.board.read("/firmware/0.2.new") == full


@pytest.mark.slow
def test_a_version_that_crashes_is_not_made_a_second_time(
    unsigned: Callable[..., Field], make: Make
) -> None:
    """By the full firmware, a delta or a compressed one: the same bytes are refused."""
    it = unsigned(trial={"starts": 1})
    base = make("0.2")
    it.accepts("0.2", base)
    broken = make("0.3", app=CRASHES)
    state, message = end(it, "0.3", delta(base, broken, "0.2"))
    assert state == "fail" and message.startswith("crashed in its trial")
    lines = len(it.board.log)
    for data in (patch.make(b"", broken), broken):
        assert end(it, "0.3", data) == ("fail", message)
    assert not [line for line in it.board.log[lines:] if "expanded" in line]
    it.accepts("0.4", delta(base, make("0.4"), "0.2"))


@pytest.mark.matrix
@pytest.mark.slow
def test_power_cuts_while_it_is_made(
    unsigned: Callable[..., Field], wire: Wire, server: BadServer, make: Make
) -> None:
    """Before and within operations of the flash, all through it: the patch is there still."""
    it = unsigned()
    board = it.board
    base = make("0.2", files={"data": random.Random(3).randbytes(100_000)})
    it.accepts("0.2", base)
    full = make("0.3", files={"data": random.Random(3).randbytes(100_000), "new": b"file"})
    small = delta(base, full, "0.2")
    url = server.add("/p", small)
    kinds = ("die", "part", "random")
    cut = made = 0
    while True:
        wire.push("0.3", url, small)
        start = len(board.log)
        board.wait_log(r"ivota: expand ", start=start)
        at = board.flash_counts()["operations"] + 3 + 190 * cut
        board.arm(Fault(kinds[cut % 3], at, seed=cut))
        cut += 1
        if not _dies(board):
            break
        made += 1
        said = len(wire.messages)
        board.power_on()
        if any(line.startswith("ivota: handed_over") for line in board.log[start:]):
            break  # from here on it is a trial like any other
        wire.wait(lambda m: m.kind == "report_version", "a version", after=said)
    assert made >= 4
    wire.wait_state("done")
    board.wait_log("confirmed version=0.3")
    assert board.read("/firmware/0.3.new") == full
    assert sorted(board.listdir("/firmware")) == ["0.2.bin", "0.3.new"]
    assert len(server.asked("/p")) == 1


def _dies(board: Board) -> bool:
    """Waits for the armed death; False where the update got to its end before."""

    def confirmed() -> bool:
        return any(line.startswith("ivota: confirmed version=0.3") for line in board.log)

    wait_until(lambda: not board.on or confirmed(), "the cut, or the end of the update")
    return not board.on


@pytest.mark.slow
def test_the_cloud_sends_the_full_firmware_by_itself(make: Make, tmp_path: Path) -> None:
    """A board whose 0.2 has other bytes than the one that the delta was made from."""
    base, other = make("0.2"), make("0.2", files={"more": b"of other bytes"})
    full = make("0.3", files={"x": b"y" * 5000})
    files = {"other": other, "full": full, "delta": delta(base, full, "0.2")}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    back_off = BackOff(first_s=0.5, most_s=1)
    with Cloud(tmp_path / "cloud", back_off=back_off) as cloud, Client(cloud.api_url) as api:
        for name in files:
            api.upload(tmp_path / name)
        with Board(tmp_path / "board", mpy=True, config=settings("d", cloud.mqtt_port)) as board:
            board.install()
            board.power_on()
            for version in ("0.2", "0.3"):
                device = api.push("P/d", version, new=True)["device"]
                *_, device = api.wait(device["id"], WAIT_S)
                assert device["state"] == "done", device
            said = [each for each in api.reports(device["id"]) if each["state"] == "fail"]
            assert [each["result_msg"] for each in said] == [WRONG + "0.2"]
            board.stop()
            assert board.read("/firmware/0.3.bin") == full
            assert sorted(board.listdir("/firmware")) == ["0.2.bin", "0.3.bin"]


@pytest.mark.matrix
@pytest.mark.slow
def test_an_image_from_the_running_partition(
    esp32: MakeBoard, field: Callable[..., Field], make: Make
) -> None:
    it = field(make=esp32)
    flash = it.board.flash
    assert flash
    alike = "# " + random.Random(1).randbytes(12_000).hex()
    running = make_image("0.1", size=30_000)
    image = make_image("0.2", alike)
    full = make.signer(5).sign(image, "0.2", "esp32-image")
    wrong = delta(make_image("0.0", size=30_000), full, "0.0", "esp32-image")
    signed = make.signer(5).sign(wrong, "0.2", "patch")
    assert end(it, "0.2", signed) == ("fail", WRONG + "0.0")
    assert flash.slot("ota_1")[:BLOCK] == b"\xff" * BLOCK
    small = delta(running, full, "0.1", "esp32-image")
    it.accepts("0.2", make.signer(5).sign(small, "0.2", "patch"))
    assert flash.slot("ota_1")[: len(full)] == full
    # The next one builds on what runs now, its trailer left aside.
    newer = make.signer(6).sign(make_image("0.3", alike), "0.3", "esp32-image")
    again = delta(full, newer, "0.2", "esp32-image")
    assert len(again) < len(newer) // 10
    it.accepts("0.3", make.signer(6).sign(again, "0.3", "patch"))
    assert flash.slot("ota_0")[: len(newer)] == newer
    it.board.stop()
    assert it.board.listdir("/firmware") == []


def _lines(outcome: Outcome, start: str) -> list[str]:
    return [line for line in outcome.log if line.startswith(start)]


@pytest.mark.slow
def test_a_heap_too_small_for_a_delta() -> None:
    """With bytes enough for the full firmware, and with less: the application is not disturbed."""
    with patched.lanes(2) as lanes, ThreadPoolExecutor(2) as pool:
        enough, little = pool.map(lanes.to_the_end, (63_488, 54_784), (300, 40))
    assert enough.wrong == "", enough
    failed = _lines(enough, "ivota: failed")
    assert failed and "code=-5" in failed[0], failed
    assert enough.received > 691_186 and len(_lines(enough, "ivota: confirmed")) == 1
    assert little.wrong == "not within 40 s", little
    # It says so each time, with the reason or without.
    assert _lines(little, "ivota: failed") or _lines(little, "ivota: no_heap"), little
    for outcome, resets in ((enough, 1), (little, 0)):
        assert len(_lines(outcome, "sim: reset")) == resets, outcome
        assert _lines(outcome, "ivota: died") == []
