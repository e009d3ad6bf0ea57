"""ROMFS images made in memory, for the tests of what mounts and examines them."""

import binascii
import json

MAGIC = b"\xd2\xcd\x31"
PADDING = 1
VERBATIM = 2
POINTER = 3
FOLDER = 4
FILE = 5


def integer(value):
    encoded = bytes([value & 127])
    value >>= 7
    while value:
        encoded = bytes([128 | value & 127]) + encoded
        value >>= 7
    return encoded


def record(kind, payload, length=None):
    return integer(kind) + integer(len(payload) if length is None else length) + payload


def named(kind, name, payload):
    name = name if isinstance(name, bytes) else name.encode()
    return record(kind, integer(len(name)) + name + payload)


def file(name, data):
    return named(FILE, name, record(VERBATIM, data))


def image(payload, length=None):
    return MAGIC + integer(len(payload) if length is None else length) + payload


def tree(members):
    """The records of (path, bytes) pairs, folders where their first file comes."""
    found = []
    for path, data in members:
        name, slash, rest = path.partition("/")
        if not slash:
            found.append((name, data))
        elif found and found[-1][0] == name and isinstance(found[-1][1], list):
            found[-1][1].append((rest, data))
        else:
            found.append((name, [(rest, data)]))
    return b"".join(
        named(FOLDER, name, tree(data)) if isinstance(data, list) else file(name, data)
        for name, data in found
    )


def facts(version="0.2", **changed):
    """The content of a bundle's ivota.json."""
    value = {"format": 2, "application": "app", "version": version}
    value.update(changed)
    return json.dumps(value).encode()


def bundle(members, version="0.2", **changed):
    """A whole bundle; `members` are (path, bytes) pairs, `changed` values of its ivota.json."""
    return image(tree([("ivota.json", facts(version, **changed))] + list(members)))


def sealed(source):
    """The source of bundlefs with the right last line in place of its own."""
    lines = source.decode().rstrip().split("\n")[:-1]
    crc = 0
    for line in lines:
        crc = binascii.crc32(line.rstrip().encode(), crc)
    return ("\n".join(lines) + "\n# %08x\n" % crc).encode()
