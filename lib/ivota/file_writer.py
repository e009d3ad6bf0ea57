"""Write a download into a file, and digest what is on flash.

`target` is a `download_target.Target` opened by `download_target.open_target`. The file's length
is the position of the download: bytes count once they are flushed. They are flushed where a
littlefs block really ends, so that no block is written twice. On FAT, each flush writes two more
sectors, so the board flushes only every 64 KiB. The digest covers bytes that are read back after
they are durable.
"""

from micropython import const

_FAT_SYNC = const(65535)  # on FAT durable at each multiple of 64 KiB


def next_end(target):
    """Set `target.end`, the end of the current block, up to which bytes may be written at once."""
    # Block n > 0 of a littlefs file begins with ctz(n) + 1 pointers of 4 bytes.
    n = 0 if target.fat else target.blocks
    end = target.end + target.block_size
    while n:
        end -= 4
        if n & 1:
            break
        n >>= 1
    target.blocks += 1
    target.end = min(end, target.size)


def fill(target, raw, left):
    """Append up to `left` bytes from `raw`; return the result of the last `readinto`.

    `left` does not go beyond `target.end`. If the file's `tell()` is still `target.position`, an
    exception came from `raw`.
    """
    buffer = target.buffer
    chunk = target.chunk
    n = 1
    while left:
        n = raw.readinto(buffer, left if left < chunk else chunk)
        if not n:
            break
        target.position += n
        target.file.write(buffer, n)
        left -= n
    return n


def end_block(target):
    """Make a full block durable if that is due, and continue with the next."""
    position = target.position
    if not target.fat or not position & _FAT_SYNC or position == target.size:
        target.file.flush()
        target.durable = position
    if position < target.size:
        next_end(target)


def check(target, most):
    """Digest up to `most` more bytes from flash; return True if no more are ready.

    Until the file is complete, only whole chunks are digested, so that nothing is allocated.
    """
    stop = target.durable
    chunk = target.chunk
    if stop < target.size:
        stop -= stop % chunk
    most = min(most, stop - target.checked)
    if most > 0:
        file = target.file
        buffer = target.buffer
        file.seek(target.checked)
        while most:
            if most < chunk:
                chunk = most
                buffer = memoryview(buffer)[:most]
            file.readinto(buffer)
            target.digest.update(buffer)
            target.checked += chunk
            most -= chunk
        if file.tell() != target.checked:
            raise OSError("the file ends at %d" % file.tell())
        file.seek(target.position)
    return target.checked >= stop
