"""Apply a patch to its base, piece by piece (docs/formats.md has the records)."""

import errno
from array import array

from micropython import const

from ivota import once

# Constants of the format:
_PIECE = const(1024)  # maximum bytes of a copy in which something changes
_RECORDS = const(32)  # in a group
_CHANGES = const(255)  # in a record


def pieces(stream, base, size, left):
    """Yield a buffer first, and then, for each piece of the result, its size in that buffer.

    `stream` is the decompressed patch. `base` has `seek(at)` and `readinto(buffer, n)`; only
    `size` bytes of it are used. `left` is the size of the result. Raises OtaError(-5) for an
    invalid stream, and any error of `base`.
    """
    # One function with only local variables and few reads of the stream: each read costs as much
    # as decompressing some dozen bytes.
    words = array("H", bytes(_PIECE))
    copies = array("H", bytes(2 * _RECORDS))
    inserts = array("H", bytes(2 * _RECORDS))
    moves = array("i", bytes(4 * _RECORDS))
    counts = bytearray(_RECORDS)
    gaps = bytearray(_CHANGES)
    view = memoryview(gaps)
    sums = array("H", bytes(2 * _CHANGES))
    read = stream.readinto
    copied = base and base.readinto
    yield words
    at = i = n = 0
    try:
        while left:
            if i == n:
                read(counts, 1)
                n = counts[0]
                if not 0 < n <= _RECORDS or (
                    read(copies, 2 * n)
                    + read(inserts, 2 * n)
                    + read(moves, 4 * n)
                    + read(counts, n)
                    != 9 * n
                ):
                    raise EOFError
                i = 0
            copy = copies[i]
            insert = inserts[i]
            if moves[i]:
                at += moves[i]
                if not 0 <= at <= size:
                    raise EOFError
                base.seek(at)
            changes = counts[i]
            i += 1
            at += copy
            left -= copy + insert
            # Records without effect could continue forever.
            if at > size or left < 0 or not (copy or insert):
                raise EOFError
            while copy:
                part = _PIECE if copy > _PIECE else copy
                if copied(words, part) != part:
                    raise OSError("the base is too short")
                if changes:
                    if read(gaps, changes) + read(sums, 2 * changes) != 3 * changes:
                        raise EOFError
                    where = k = 0
                    for gap in view[:changes]:
                        where += gap
                        words[where] += sums[k]  # of 16 bits: higher bits are dropped
                        k += 1
                    changes = 0
                copy -= part
                yield part
            while insert:
                part = _PIECE if insert > _PIECE else insert
                if read(words, part) != part:
                    raise EOFError
                insert -= part
                yield part
    except (EOFError, IndexError):
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:  # the decompressor's error for an invalid stream
            raise
    else:
        return
    raise once("patch_header").damaged("its stream is damaged")
