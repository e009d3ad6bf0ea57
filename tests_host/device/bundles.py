"""Archives made in memory, for the tests of what mounts and examines them."""

import binascii
import hashlib
import json


def header(name, size, kind=b"0", prefix="", magic=b"ustar\x0000"):
    """One header of a ustar archive."""
    name = name.encode()
    block = bytearray(512)
    block[: len(name)] = name
    block[100:107] = b"0000644"
    block[108:115] = block[116:123] = b"0000000"
    block[124:135] = size if isinstance(size, bytes) else b"%011o" % size
    block[136:147] = b"00000000000"
    block[156:157] = kind
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix.encode()
    block[148:156] = b"        "
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def member(name, data, **more):
    return header(name, len(data), **more) + data + bytes(-len(data) % 512)


def entry(name, data):
    digest = binascii.hexlify(hashlib.sha256(data).digest()).decode()
    return {"path": name, "size": len(data), "sha256": digest}


def bundle(members, version="0.2", end=bytes(1024), **changed):
    """A whole bundle; `members` are (name, bytes) pairs, `changed` values of its head."""
    head = {
        "format": 1,
        "application": "app",
        "version": version,
        "files": [entry(name, data) for name, data in members],
    }
    head.update(changed)
    parts = [member("ivota.json", json.dumps(head).encode())]
    parts += [member(name, data) for name, data in members]
    parts.append(end)
    return b"".join(parts)


def sealed(source):
    """The source of bundlefs with the right last line in place of its own."""
    lines = source.decode().rstrip().split("\n")[:-1]
    crc = 0
    for line in lines:
        crc = binascii.crc32(line.rstrip().encode(), crc)
    return ("\n".join(lines) + "\n# %08x\n" % crc).encode()
