"""Find where a download resumes: a checkpoint beside a file of any length, or for a slot.

The first byte says how many times 500 bytes of firmware are stored; the second selects a file or a
slot.
"""

import os

import room
from slots import Esp32, installed

import ivota
from ivota import OtaError, download_preparation, firmware_folder
from ivota.firmware_offer import Push

SIZE = 6000
MD5 = "0" * 32
FW = "/firmware"
esp32 = Esp32()


def check(data):
    folder = room.FOLDER + FW
    try:
        os.mkdir(folder)
    except OSError:
        pass
    length = (data[0] % 16) * 500 if data else 0
    slot = data[1:2] == b"s"
    for name in ("0.2.bin", "0.2.json", "0.2.json~"):
        try:
            os.remove(folder + "/" + name)
        except OSError:
            pass
    room.put("firmware/0.2.json", data[2:])
    if length:
        room.put("firmware/0.2.bin", bytes(length))
    push = Push("0.2", "http://h/f", MD5, SIZE)
    files = firmware_folder.prepare(folder + "/0.2", SIZE)
    try:
        outcome = in_a_slot(files, push) if slot else in_a_file(files, push, length)
    except OtaError as error:
        assert error.code == -5
        outcome = "refused"
    except MemoryError:
        outcome = "MemoryError"
    room.inside(folder)
    return outcome


def in_a_file(files, push, length):
    target = download_preparation.open_file(files, push)
    try:
        assert target.path == files.path
        assert target.position in (0, length) and target.position <= SIZE
        assert target.position == target.durable == target.file.tell()
        assert target.position < target.end <= SIZE or target.position == SIZE
        if target.position:
            assert download_preparation.matches(
                ivota.once("json_file").load(target.checkpoint), push
            )
    finally:
        target.close()
    return "at %d" % target.position


def in_a_slot(files, push):
    with installed(esp32):
        target = ivota.once("slot_finder").find(files, push)
    if target is files:
        return "to be chosen"
    if not target:
        return "a file"
    assert target.path == files.checkpoint and target.slot == "ota_1"
    assert type(target.position) is int and 0 <= target.position <= SIZE
    assert target.position % 4096 == 0 or target.position == SIZE
    assert target.position < target.end <= SIZE or target.position == SIZE
    return "slot at %d" % target.position
