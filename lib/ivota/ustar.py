"""A member of an archive, as `bundlefs` reads it, for when that need not be in the heap.

boot.py needs `bundlefs` without this package, so it has the same two functions; one test holds
both to the same answers.
"""


def member(file, at, header):
    """(name, size) of the plain file whose header lies at `at`; an empty name at the end.

    `header` is a buffer of 512 bytes. Raises ValueError for any other kind of member, and for one
    of a GiB or more, behind which no place would fit into a small integer.
    """
    file.seek(at)
    if file.readinto(header) != 512 or not header[0]:
        return b"", 0
    checksum = int(_text(header, 148, 8).strip() or b"0", 8)
    header[148:156] = b"        "
    size = int(_text(header, 124, 12).strip(), 8)
    plain = header[257:262] == b"ustar" and header[156] in b"0\0"
    name = _text(header, 0, 100)
    prefix = _text(header, 345, 155)
    if prefix:
        name = prefix + b"/" + name
    if checksum != sum(header) or not plain or size >> 30 or min(name) < 32:
        raise ValueError("not a bundle")
    return name, size


def _text(header, start, length):
    return bytes(header[start : start + length]).partition(b"\0")[0]
