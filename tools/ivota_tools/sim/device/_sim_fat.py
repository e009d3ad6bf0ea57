"""Mount a second flash with FAT at /fat, for boards that stage firmware there."""

import _sim_flash
import vfs

_BLOCK = 4096


class Sectors:
    """Flash with sectors smaller than an erase block, like `esp32.Partition` with a block size:
    ports/esp32/esp32_partition.c, esp32_partition_writeblocks.

    Writing a sector reads, erases and rewrites the whole block.
    """

    def __init__(self, flash, size):
        self._flash = flash
        self._size = size
        self._buffer = bytearray(_BLOCK)

    def readblocks(self, sector, buf):
        at = sector * self._size
        view = memoryview(buf)
        done = 0
        while done < len(buf):
            n = min(_BLOCK - at % _BLOCK, len(buf) - done)
            error = self._flash.readblocks(at // _BLOCK, view[done : done + n], at % _BLOCK)
            if error:
                return error
            at += n
            done += n

    def writeblocks(self, sector, buf):
        at = sector * self._size
        view = memoryview(buf)
        done = 0
        while done < len(buf):
            offset = at % _BLOCK
            n = min(_BLOCK - offset, len(buf) - done)
            error = self._flash.readblocks(at // _BLOCK, self._buffer)
            if error:
                return error
            self._buffer[offset : offset + n] = view[done : done + n]
            error = self._flash.writeblocks(at // _BLOCK, self._buffer)
            if error:
                return error
            at += n
            done += n

    def ioctl(self, op, arg):
        if op == 4:
            return self._flash.ioctl(4, 0) * (_BLOCK // self._size)
        if op == 5:
            return self._size
        return 0


class Whole:
    """Flash whose sectors are erase blocks; only a write erases one.

    extmod/vfs_fat_diskio.c, disk_write and disk_ioctl, never request an erase.
    """

    def __init__(self, flash):
        self.readblocks = flash.readblocks
        self.writeblocks = flash.writeblocks
        self._flash = flash

    def ioctl(self, op, arg):
        return self._flash.ioctl(op, arg) if op != 6 else 0


def mount(path, state_path, blocks, sector):
    """Mount the flash; format it first if it is empty, like a board at its first start."""
    flash = _sim_flash.attach(path, state_path, blocks, 1)
    device = Whole(flash) if sector == _BLOCK else Sectors(flash, sector)
    try:
        system = vfs.VfsFat(device)
        vfs.mount(system, "/fat")
    except OSError:
        vfs.VfsFat.mkfs(device)
        vfs.mount(vfs.VfsFat(device), "/fat")
