"""Write a download into an OTA slot, with the same functions as `file_writer` has for a file.

`target` is a `download_target.Target` opened by `ota_slots`. Bytes count once they are programmed,
in chunks; `target.durable` counts them, and `target.gathered` contains the data received since.
The checkpoint records it every 16 blocks. After a power cut the download resumes there, so each
block is erased before its first write, whatever it contains. The digest is taken after the last
byte.
"""

from micropython import const

from ivota import once

_CHUNK = const(512)
_BLOCK = const(4096)
_SYNC = const(65535)  # save the position at each multiple of 64 KiB


def fill(target, raw, left):
    """Read up to `left` bytes from `raw`; return the result of the last `readinto`.

    `left` does not go beyond `target.end`.
    """
    buffer = target.buffer
    n = 1
    while left:
        most = _CHUNK - target.position % _CHUNK
        n = raw.readinto(buffer, left if left < most else most)
        if not n:
            break
        target.position += n
        left -= n
        if n < _CHUNK:
            _gather(target, n)
        else:
            _program(target)
    return n


def _gather(target, n):
    """Keep n bytes in RAM until the chunk is complete."""
    gathered = target.gathered
    gathered.write(target.buffer, n)
    size = gathered.tell()
    if size < _CHUNK and target.position < target.size:
        return
    gathered.seek(0)
    gathered.readinto(target.buffer)
    gathered.seek(0)
    # As if nothing had been programmed after the image.
    while size < _CHUNK:
        target.buffer[size] = 255
        size += 1
    _program(target)


def _program(target):
    """Program the chunk in the buffer; the first one of a block erases the block."""
    at = target.durable
    part = target.part
    if not at % _BLOCK:
        part.ioctl(6, at // _BLOCK)
    part.writeblocks(at // _BLOCK, target.buffer, at % _BLOCK)
    target.durable = target.position


def end_block(target):
    """Finish a full block: update the checkpoint if that is due, and continue with the next."""
    position = target.position
    if not position & _SYNC or position == target.size:
        once("checkpoint").keep(target, "position", position)
    target.end = min(position + _BLOCK, target.size)


def sound(target):
    """Return whether all received bytes are programmed or in RAM, so the flash did not fail."""
    return target.durable + target.gathered.tell() == target.position < target.end


def check(target, most):
    """When all bytes have arrived, digest up to `most` bytes of the flash; return True at
    the end.
    """
    return target.position < target.size or _digest(target, most)


# A separate frame: it is too large for the path of each block.
def _digest(target, most):
    part = target.part
    buffer = target.buffer
    digest = target.digest
    at = target.checked
    stop = min(at + most, target.size)
    while at < stop:
        part.readblocks(at // _BLOCK, buffer, at % _BLOCK)
        n = min(stop - at, _CHUNK)
        digest.update(buffer if n == _CHUNK else memoryview(buffer)[:n])
        at += n
    target.checked = at
    return at >= target.size
