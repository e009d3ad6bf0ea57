"""An `esp32` module for tests: OTA slots of NOR flash, and what the boot loader makes of them.

with installed("esp32", FakeEsp32()) as esp32:
    ...
esp32.reset()
assert esp32.running == "ota_0"
"""

BLOCK = 4096
TYPE_APP, TYPE_DATA = 0, 1
ENOENT = 2
# Partition tables: the OTA variant's, the plain variant's, and one with a single slot.
OTA, PLAIN, ONE_SLOT = ("ota_0", "ota_1"), ("factory",), ("factory", "ota_0")
IMAGE = b"\xe9\x01\0\0" + bytes(8)  # and the chip's id in two bytes
DESCRIPTION = b"\x32\x54\xcd\xab"  # how an application's begins, at 32


def image_of(size, chip=0, seed=1):
    """So many bytes that begin as an image does; `set_boot` looks at no more of them."""
    head = IMAGE + bytes((chip, 0)) + bytes(18) + DESCRIPTION
    body = bytes((i * 7 + seed) & 0xFF for i in range(251))
    return (head + body * (size // 251 + 1))[:size]


class FakeEsp32:
    """`blocks`: of each partition for an application. `layout`: which of them there are; the first
    one runs. `fail`: a name, or a part of one, of an operation that raises OSError: erase,
    program, read, set_boot, mark."""

    def __init__(self, blocks=16, chip=0, layout=OTA):
        self.slots = {}
        for label in layout:
            self.slots[label] = bytearray(b"\xff" * (BLOCK * blocks))
        self.running = layout[0]
        self.boot = self.running
        self.slots[self.running][:256] = image_of(256, chip)
        self.states = {self.running: "valid"}
        self.fail = ""
        self.erases = self.programs = self.reads = 0

        class Partition(_Partition):
            chip = self

        self.Partition = Partition

    def other(self, label):
        """The label that ESP-IDF names as the next after this one; a single slot's own."""
        found = sorted(each for each in self.slots if each[:3] == "ota")
        if not found:
            raise OSError(ENOENT)
        return found[(found.index(label) + 1) % len(found)] if label in found else found[0]

    # read_otadata, of ESP-IDF's esp_ota_ops.c
    def check_otadata(self):
        if self.slots.keys() == {"factory"}:
            raise OSError(-0x105, "ESP_ERR_NOT_FOUND")

    def check(self, operation):
        if operation in self.fail:
            raise OSError(-0x6001, "ESP_ERR_FLASH_OP_FAIL")

    # ESP-IDF's bootloader_support/src/bootloader_utility.c,
    # bootloader_utility_get_selected_boot_partition.
    def reset(self):
        """What the boot loader does before anything runs."""
        if self.states.get(self.boot) == "pending":
            self.states[self.boot] = "aborted"
            self.boot = "factory" if "factory" in self.slots else self.other(self.boot)
        elif self.states.get(self.boot) == "new":
            self.states[self.boot] = "pending"
        self.running = self.boot


# ports/esp32/esp32_partition.c: esp32_partition_make_new (OSError(ENOENT) where there is no such
# partition, as of get_next_update, by esp32_partition_new), esp32_partition_readblocks,
# esp32_partition_writeblocks (without an offset it erases first), esp32_partition_ioctl,
# esp32_partition_set_boot, esp32_partition_mark_app_valid_cancel_rollback. Errors of ESP-IDF are
# negative: ports/esp32/mphalport.c, check_esp_err_.
class _Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = TYPE_APP
    TYPE_DATA = TYPE_DATA
    chip = None

    def __init__(self, id, block_size=BLOCK):
        if type(id) is int and id > 1:
            raise ValueError
        chip = self.chip
        label = chip.boot if id == 0 else chip.running if id == 1 else id
        # Without OTA slots nothing says which one boots.
        if (
            label not in chip.slots
            or block_size != BLOCK
            or id == 0
            and chip.slots.keys() == {"factory"}
        ):
            raise OSError(ENOENT)
        self._label = label
        self._data = chip.slots[label]

    def info(self):
        number = sorted(self.chip.slots).index(self._label)
        size = len(self._data)
        kind = 0 if self._label == "factory" else 16 + int(self._label[4:])
        return (TYPE_APP, kind, 0x10000 + number * size, size, self._label, False)

    def get_next_update(self):
        return type(self)(self.chip.other(self._label))

    def readblocks(self, block, buf, offset=0):
        self.chip.check("read")
        self.chip.reads += 1
        at = self._at(block, len(buf), offset)
        data = self._data
        for i in range(len(buf)):
            buf[i] = data[at + i]

    def writeblocks(self, block, buf, offset=-1):
        """A program can only clear bits: what is not erased can't be programmed."""
        if offset < 0:
            for n in range(len(buf) // BLOCK):
                self.ioctl(6, block + n)
            offset = 0
        self.chip.check("program")
        self.chip.programs += 1
        at = self._at(block, len(buf), offset)
        self._protect()
        data = self._data
        for i in range(len(buf)):
            assert data[at + i] & buf[i] == buf[i], "programmed without having been erased"
            data[at + i] = buf[i]

    def ioctl(self, op, arg):
        if op == 4:
            return len(self._data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            self.chip.check("erase")
            self.chip.erases += 1
            at = self._at(arg, BLOCK, 0)
            self._protect()
            data = self._data
            for i in range(BLOCK):
                data[at + i] = 255
        return 0 if op in (1, 2, 3, 6) else None

    def _at(self, block, size, offset):
        at = block * BLOCK + offset
        if block < 0 or at + size > len(self._data):
            raise OSError(-0x104, "ESP_ERR_INVALID_SIZE")
        return at

    def _protect(self):
        assert self._label != self.chip.running, "the running partition is written to"

    def set_boot(self):
        self.chip.check("set_boot")
        if self._data[0] != IMAGE[0]:
            raise OSError(-0x1503, "ESP_ERR_OTA_VALIDATE_FAILED")
        self.chip.boot = self._label
        self.chip.states[self._label] = "new"

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        cls.chip.check("mark")
        cls.chip.check_otadata()
        cls.chip.states[cls.chip.boot] = "valid"
