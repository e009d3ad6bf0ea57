"""Find where a download resumes: a checkpoint beside a file of any length, or for a slot.

The first byte says how many times 500 bytes of firmware are stored; the second selects a file or a
slot.
"""

import os

import room
from slots import Esp32, installed

import ivota
from ivota import OtaError, download_target
from ivota.push import Push

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
    target = download_target.Target()
    try:
        outcome = (
            in_a_slot(target, folder, push) if slot else in_a_file(target, folder, push, length)
        )
    except OtaError as error:
        assert error.code == -5
        outcome = "refused"
    except MemoryError:
        outcome = "MemoryError"
    finally:
        if target.file:
            target.file.close()
    room.inside(folder)
    return outcome


def in_a_file(target, folder, push, length):
    download_target.open_target(target, folder + "/0.2", push)
    assert target.kind == "file_writer" and target.path == folder + "/0.2.bin"
    assert target.position in (0, length) and target.position <= SIZE
    assert target.position == target.durable == target.file.tell()
    assert target.position < target.end <= SIZE or target.position == SIZE
    if target.position:
        assert download_target.is_of(ivota.once("json_file").load(target.checkpoint), push)
    return "at %d" % target.position


def in_a_slot(target, folder, push):
    with installed(esp32):
        ivota.once("ota_slots").find(target, folder + "/0.2", push)
    if target.kind is None:
        return "to be chosen"
    if target.kind == "file_writer":
        return "a file"
    assert target.kind == "slot_writer" and target.path == folder + "/0.2.json"
    assert target.slot == "ota_1"
    assert type(target.position) is int and 0 <= target.position <= SIZE
    assert target.position % 4096 == 0 or target.position == SIZE
    assert target.position < target.end <= SIZE or target.position == SIZE
    return "slot at %d" % target.position
