"""A second flash with a FAT on it, mounted at /fat, for boards that stage firmware there."""

import _sim_flash
import vfs

_BLOCK = 4096


class Sectors:
    """Flash in sectors smaller than what it can erase, as `esp32.Partition` with a block size:
    ports/esp32/esp32_partition.c, esp32_partition_writeblocks.

    What shares a block with a sector is read, erased and written again with it.
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
    """Flash in sectors of the size that it erases: only writing one erases it.

    extmod/vfs_fat_diskio.c, disk_write and disk_ioctl, ask for no erase.
    """

    def __init__(self, flash):
        self.readblocks = flash.readblocks
        self.writeblocks = flash.writeblocks
        self._flash = flash

    def ioctl(self, op, arg):
        return self._flash.ioctl(op, arg) if op != 6 else 0


def mount(path, state_path, blocks, sector):
    """Mount it, formatted where nothing is on it yet, as a board does at its first start."""
    flash = _sim_flash.attach(path, state_path, blocks, 1)
    device = Whole(flash) if sector == _BLOCK else Sectors(flash, sector)
    try:
        system = vfs.VfsFat(device)
        vfs.mount(system, "/fat")
    except OSError:
        vfs.VfsFat.mkfs(device)
        vfs.mount(vfs.VfsFat(device), "/fat")
