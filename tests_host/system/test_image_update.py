"""Whole updates of an ESP32 image on a simulated ESP32: slots, otadata, boot loader, 32 bits."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from badserver import BadServer, Step
from board_support import DIES_AFTER_BOOT_PY, DIES_AT_ONCE, MakeBoard, settings
from waiting import WAIT_S, wait_until
from wire import Wire

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board
from ivota_tools.sim.esp32_image import ESP32, make_image
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.sim.otadata import ABORTED, VALID

BLOCKS = 136  # of the file system: the package and little more
SLOTS = 180
SIZE = 708_482  # bytes, as in the vendor's own example; more than the whole file system has
SMALL = 150_000
BACK = "the boot loader rolled back to the previous image"
ESP32_S3 = 9


@pytest.fixture
def esp32(broker: Broker, name: str, tmp_path: Path, boards: list[Board]) -> MakeBoard:
    """Makes boards that run image 0.1 from ota_0, formatted and off."""

    def make(slots: int = SLOTS, **changes: Any) -> Board:
        board = Board(
            tmp_path / f"board{len(boards)}",
            mpy=True,
            blocks=BLOCKS,
            config=settings(name, broker.port, **changes),
            slots=slots,
            image=make_image("0.1", size=30_000),
        )
        boards.append(board)
        board.install()
        return board

    return make


def flash(board: Board) -> Any:
    assert board.flash
    return board.flash


def state_of(board: Board) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(board.read("/ivota-state.json"))
    return result


def held(board: Board, image: bytes) -> int:
    """How many bytes of the image lie in the slot, from the first on."""
    return len(os.path.commonprefix([flash(board).slot("ota_1"), image]))


def progress(message: Any) -> dict[str, Any]:
    result: dict[str, Any] = message.json["report"]["progress"]
    return result


def confirmed(board: Board, wire: Wire, image: bytes, version: str = "0.2") -> None:
    """The image runs for good, and nothing of the update is left behind."""
    wire.wait_state("done")
    board.wait_log(f"confirmed version={version}")
    wire.wait(lambda m: m.kind == "report_version" and version in str(m.json), version)
    board.stop()
    assert not wire.of("fail") and len(wire.of("done")) == 1
    assert flash(board).slot("ota_1")[: len(image)] == image
    assert flash(board).otadata()[1].state == VALID
    assert flash(board).would_boot() == "ota_1"
    assert board.listdir("/firmware") == []
    assert {"trial", "active", "ended", "tries"}.isdisjoint(state_of(board))
    # For good: the next start is no trial.
    board.power_on()
    board.wait_log(f"running trial=False version={version}")
    board.stop()
    assert board.booted == "ota_1"


@pytest.mark.matrix
@pytest.mark.slow
def test_an_image_larger_than_the_file_system_is_confirmed(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", size=SIZE)
    assert len(image) == SIZE > BLOCKS * BLOCK
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", image), image)
    confirmed(board, wire, image)
    assert len(server.asked("/f")) == 1
    assert [m.state for m in wire.messages if m.state not in ("downloading", None)] == [
        "burning",
        "done",
    ]
    # The running slot was not touched, and it took no more than the boot loader's two resets.
    assert flash(board).slot("ota_0").startswith(make_image("0.1", size=30_000))
    assert board.resets == 1


@pytest.mark.matrix
def test_an_image_that_breaks_in_its_trial_is_taken_back_by_the_boot_loader(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", DIES_AFTER_BOOT_PY, size=SMALL)
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", image), image)
    failure = progress(wire.wait_state("fail"))
    assert (failure["result_code"], failure["result_msg"]) == ("-5", BACK)
    board.wait_log("running trial=False version=0.1")
    assert flash(board).otadata()[1].state == ABORTED
    assert not wire.of("done")
    # It is not refused for that: the same bytes, which lie there still, are tried again.
    said = len(wire.messages)
    wire.push("0.2", server.url("/f"), image)
    wire.wait_state("fail", after=said)
    assert len(server.asked("/f")) == 1
    # Another one takes the slot, and its own time.
    good = make_image("0.3", size=SMALL)
    wire.push("0.3", server.add("/g", good), good)
    wire.wait_state("done")
    board.wait_log("confirmed version=0.3")
    board.stop()
    assert held(board, good) == SMALL and board.listdir("/firmware") == []


@pytest.mark.matrix
def test_an_image_that_dies_before_boot_py_is_given_up_after_ten_tries(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", DIES_AT_ONCE, size=SMALL)
    url = server.add("/f", image)
    board = esp32()
    wire.start(board)
    for _ in range(10):
        # What comes of a push is the next version report, or the failure.
        heard = len(wire.messages)
        wire.push("0.2", url, image)
        wire.wait_version("0.1", after=heard)
    wire.push("0.2", url, image)
    failure = progress(wire.wait_state("fail"))
    board.stop()
    assert failure["result_code"] == "-5"
    assert failure["result_msg"] == "the image did not boot in 10 tries"
    assert len(wire.of("burning")) == 10 and len(wire.of("fail")) == 1
    assert board.log.count("sim: boots ota_1") == 10
    # It came over the network once.
    assert len(server.asked("/f")) == 1
    assert board.booted == "ota_0" and "rejected" not in state_of(board)
    assert board.listdir("/firmware") == []


@pytest.mark.matrix
def test_link_cuts_lose_nothing(esp32: MakeBoard, wire: Wire, server: BadServer) -> None:
    image = make_image("0.2", size=SMALL)
    cuts = [1, 5000, 4096, 60_001, 12]
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    url = server.add("/f", image, [Step(close_after=n) for n in cuts])
    wire.push("0.2", url, image)
    confirmed(board, wire, image)
    firsts = [request.first for request in server.asked("/f")]
    # One byte says nothing of an image yet: its first ones come again.
    assert firsts == [0, 0, *itertools.accumulate(cuts[1:])]


@pytest.mark.matrix
@pytest.mark.slow
def test_power_cuts_lose_sixteen_blocks_at_most(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", size=SIZE)
    board = esp32()
    url = server.add("/f", image)
    server.rate = 400_000
    programmed = []
    for number, sent in enumerate((1, 40_000, 90_000, 200_000, 100_000), 1):
        wire.start(board)
        wire.push("0.2", url, image)
        server.wait_sent("/f", sent, number)
        board.power_cut()
        programmed.append(held(board, image))
    wire.start(board)
    server.rate = None
    wire.push("0.2", url, image)
    confirmed(board, wire, image)
    resumed = [request.first for request in server.asked("/f")][1:]
    lost = [before - at for before, at in zip(programmed, resumed, strict=True)]
    assert min(lost) >= 0 and 0 < max(lost) <= 16 * BLOCK, lost


def test_another_image_takes_the_slot_in_the_middle_of_one(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    first, second = make_image("0.2", size=SMALL), make_image("0.3", size=SMALL)
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", first, [Step(hold_at=70_000)]), first)
    server.wait_sent("/f", 70_000)
    wire.push("0.3", server.add("/g", second), second)
    confirmed(board, wire, second, "0.3")
    assert server.asked("/g")[0].first == 0 and len(server.asked("/f")) == 1


def test_an_image_for_another_chip_is_refused(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", chip=ESP32_S3, size=SMALL)
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", image), image)
    failure = progress(wire.wait_state("fail"))
    assert failure["result_code"] == "-5"
    assert failure["result_msg"] == "the image is for chip 9, but this is chip 0"
    board.stop()
    assert not wire.of("burning") and board.resets == 0
    assert flash(board).would_boot() == "ota_0" and board.listdir("/firmware") == []


@pytest.mark.slow
def test_the_cloud_keeps_images_for_other_chips_from_a_board(
    esp32: MakeBoard, wire: Wire, broker: Broker, name: str, tmp_path: Path
) -> None:
    """The board reports its chip; the cloud refuses before it pushes, and updates otherwise."""
    where = f"127.0.0.1:{broker.port}"
    with Cloud(tmp_path / "cloud", broker=where) as cloud, Client(cloud.api_url) as api:
        for version, chip in (("0.2", ESP32), ("0.3", ESP32_S3)):
            path = tmp_path / f"{version}.bin"
            path.write_bytes(make_image(version, chip=chip, size=SMALL))
            api.upload(path, version)
        board = esp32()
        board.power_on()
        wait_until(
            lambda: any(each["chip"] == "esp32" for each in api.devices()), "the board's chip"
        )
        with pytest.raises(
            ApiError, match="is for esp32s3, but the device reports that it is esp"
        ):
            api.push(f"P/{name}", "0.3")
        device = api.push(f"P/{name}", "0.2")["device"]
        *_, device = api.wait(device["id"], WAIT_S)
        assert (device["state"], device["version"]) == ("done", "0.2")
    pushed = [each.json["version"] for each in wire.from_cloud if each.kind == "update_firmware"]
    assert set(pushed) == {"0.2"} and not wire.of("fail")


def test_an_image_that_is_damaged_inside_is_refused_by_set_boot(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    """The MD5 is right, but not the SHA-256 that the image itself brings."""
    image = bytearray(make_image("0.2", size=SMALL))
    image[50_000] ^= 1
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", bytes(image)), bytes(image))
    failure = progress(wire.wait_state("fail"))
    assert failure["result_code"] == "-5" and "can't be booted" in failure["result_msg"]
    board.stop()
    assert board.resets == 0 and flash(board).would_boot() == "ota_0"
    assert "trial" not in state_of(board) and board.listdir("/firmware") == []


def test_an_image_larger_than_a_slot_is_refused_at_once(
    esp32: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", size=SMALL)
    board = esp32(slots=30)
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", image), image)
    failure = progress(wire.wait_state("fail"))
    assert failure["result_code"] == "-5"
    assert failure["result_msg"] == "not enough space: a slot has 120 KiB"


def test_a_board_without_slots_refuses_before_the_burn(
    agent: MakeBoard, wire: Wire, server: BadServer
) -> None:
    image = make_image("0.2", size=20_000)
    board = agent()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", image), image)
    failure = progress(wire.wait_state("fail"))
    assert failure["result_code"] == "-5"
    assert failure["result_msg"] == "this board has no slot for an ESP32 image"
    board.stop()
    assert not wire.of("burning") and board.listdir("/firmware") == []


@pytest.mark.matrix
def test_a_bundle_on_a_board_with_slots(
    esp32: MakeBoard, wire: Wire, server: BadServer, tmp_path: Path
) -> None:
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "app.py").write_text("async def main():\n    pass\n")
    out = tmp_path / "0.2.bin"
    pack(folder, "0.2", out=out)
    data = out.read_bytes()
    board = esp32()
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", server.add("/f", data), data)
    wire.wait_state("done")
    board.wait_log("confirmed version=0.2")
    # And an image over it: it mounts no bundle of the old one.
    image = make_image("0.3", size=SMALL)
    wire.push("0.3", server.add("/g", image), image)
    wire.wait(lambda m: m.state == "done" and m.json["report"]["version"] == "0.3", "0.3 done")
    board.wait_log("confirmed version=0.3")
    board.stop()
    state = state_of(board)
    assert "active" not in state and state["previous"] == "/firmware/0.2.bin"
    assert board.booted == "ota_1" and board.listdir("/firmware") == ["0.2.bin"]
