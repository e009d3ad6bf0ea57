"""Boot a simulated ESP32, with or without OTA slots, before a file system is mounted."""

# As esp-idf's with rollback enabled, and no factory partition: in
# bootloader_support/src/bootloader_utility.c, bootloader_utility_get_selected_boot_partition and
# bootloader_utility_load_boot_image.

import sys

import _sim_flash
import _sim_ota
import esp32
import machine
import vfs
from micropython import const

_NEW = const(0)
_PENDING_VERIFY = const(1)
_VALID = const(2)
_ABORTED = const(4)

_BLANK = 0xFFFFFFFF
_SEQ = const(0)
_STATE = const(1)
_CRC = const(2)

_SOURCE_MAGIC = b"IVOTASRC"
_SOURCE_AT = 24 + 8 + 256  # after two headers, of image and segment, and the description


def mount(args):
    """Boot a slot, and mount its file system as `_sim_mount` does."""
    image, state_path, blocks, slots, record = args[1:6]
    fat = args[6:]
    kind = None
    if record:
        import _sim_record

        kind = _sim_record.Recorder
    if fat:
        import _sim_fat
    blocks, slots = int(blocks), int(slots)
    blocks_of_all = blocks + 2 + 2 * slots if slots else blocks
    flash = _sim_flash.attach(image, state_path, blocks_of_all, 0, kind)
    system = type(flash)(flash._base, blocks, flash._state, flash._words)
    if record:
        flash.record(record)
        system.record(record)
    slot = _boot(flash, blocks, slots) if slots else 0
    if slot is None:
        print("sim: no bootable app")
        while True:  # a chip would reset again and again
            machine._libc.func("i", "pause", "")()
    esp32._set(flash, blocks, slots, slot, _sim_ota.__file__)
    system = vfs.VfsLfs2(system)
    vfs.umount("/")
    vfs.mount(system, "/")
    if fat:
        _sim_fat.mount(fat[0], fat[1], int(fat[2]), int(fat[3]))
    if slots:
        _run_image()


def _boot(flash, at, slots):
    """Return the slot whose image starts, or None. Ignores failed writes."""
    try:
        found = _sim_ota.entries(flash, at)
    except OSError:
        return None
    for number, entry in enumerate(found):
        if entry[_STATE] == _PENDING_VERIFY:
            entry[_STATE] = _ABORTED
            _write(flash, at, number, entry)
    slot, initial = -1, False
    if _sim_ota.empty(found[0]) and _sim_ota.empty(found[1]):
        slot = 0
        initial = all(
            entry[_SEQ] == _BLANK or entry[_CRC] != _sim_ota.crc(entry) for entry in found
        )
    else:
        number = _sim_ota.active(found)
        if number >= 0:
            entry = found[number]
            slot = (entry[_SEQ] - 1) % 2
            if entry[_STATE] == _NEW:  # before the image is checked
                entry[_STATE] = _PENDING_VERIFY
                _write(flash, at, number, entry)
    for each in (1, 0) if slot == 1 else (0, 1):
        if _bootable(flash, at + 2 + each * slots, slots):
            if initial:
                entry = [each + 1, _VALID, 0]
                entry[_CRC] = _sim_ota.crc(entry)
                _write(flash, at, 0, entry)
            print("sim: boots ota_%d" % each)
            return each
        print("sim: ota_%d is not bootable" % each)


def _write(flash, at, number, entry):
    try:
        _sim_ota.write(flash, at, number, entry)
    except OSError:
        print("sim: cannot write otadata")


def _bootable(flash, first, blocks):
    try:
        return _sim_ota.is_image(flash, first, blocks)
    except OSError:
        return False


# The module `ivota_image` is frozen into the image. The file system is mounted by now.
def _run_image():
    sys.path[:] = "", ".frozen", "/lib"
    at = (esp32._running[2] << 12) + _SOURCE_AT
    head = _sim_ota.read(esp32._flash, at, bytearray(12))
    if bytes(head[:8]) == _SOURCE_MAGIC:
        size = int.from_bytes(head[8:], "little")
        source = _sim_ota.read(esp32._flash, at + 12, bytearray(size))
        names = {"__name__": "ivota_image"}
        try:
            exec(str(source, "utf-8"), names)
        except BaseException as e:
            sys.print_exception(e)
            machine.reset()  # like a panic
        # Only a class can be created from names and has attributes.
        sys.modules["ivota_image"] = type("ivota_image", (), names)
    for name in ("_sim_boot_loader", "_sim_ota"):
        del sys.modules[name]
