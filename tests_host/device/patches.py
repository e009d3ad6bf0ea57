"""Patches made in memory, record by record, as docs/formats.md has them; the stream is stored."""

import hashlib
import struct

PIECE = 1024  # bytes that a copy has at most in which something changes


def group(*records):
    """Records (move, copy, [(gap, added)], inserted) as one group of the stream."""
    n = len(records)
    out = bytes((n,))
    out += b"".join(struct.pack("<H", record[1]) for record in records)
    out += b"".join(struct.pack("<H", len(record[3])) for record in records)
    out += b"".join(struct.pack("<i", record[0]) for record in records)
    out += bytes(len(record[2]) for record in records)
    for _, _, changes, inserted in records:
        out += bytes(gap for gap, _ in changes)
        out += b"".join(struct.pack("<H", added) for _, added in changes)
        out += inserted
    return out


def stored(data):
    """A deflate stream that holds these bytes as they are."""
    out = b""
    while len(data) > 60000:
        out += b"\0" + struct.pack("<HH", 60000, 60000 ^ 0xFFFF) + data[:60000]
        data = data[60000:]
    return out + b"\1" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def header(base, result, version="0.1", kind=0, window=10, **changed):
    """A patch header; `changed` are fields under their names in `ivota.patch_header.Header`."""
    name = version.encode()
    values = {
        "magic": b"IVOTADLT",
        "format": 1,
        "length": len(name),
        "base_size": len(base),
        "base_md5": hashlib.md5(base).digest(),
        "result_size": len(result),
        "result_sha256": hashlib.sha256(result).digest(),
        "result_md5": hashlib.md5(result).digest(),
    }
    values.update(changed)
    return (
        values["magic"]
        + bytes((values["format"], kind, window, values["length"]))
        + struct.pack("<I", values["base_size"])
        + values["base_md5"]
        + struct.pack("<I", values["result_size"])
        + values["result_sha256"]
        + values["result_md5"]
        + name
    )


def records_of(base, result):
    """Records for two firmwares of which most bytes are alike at the same places."""
    records = []
    at = skipped = 0
    common = min(len(base), len(result))
    while at < common:
        size = min(PIECE, common - at)
        changes = []
        last = 0
        for word in range((size + 1) // 2):
            was = base[at + 2 * word : min(at + 2 * word + 2, at + size)]
            will = result[at + 2 * word : min(at + 2 * word + 2, at + size)]
            if was == will:
                continue
            while word - last > 255:
                last += 255
                changes.append((255, 0))
            added = int.from_bytes(will, "little") - int.from_bytes(was, "little")
            changes.append((word - last, added & 0xFFFF))
            last = word
        if len(changes) > 255:
            records.append((0, 0, [], result[at : at + size]))
            skipped += size
        else:
            records.append((skipped, size, changes, b""))
            skipped = 0
        at += size
    if len(result) > common:
        records.append((0, 0, [], result[common:]))
    return records


def patch(base, result, records=None, stream=None, **more):
    """A whole patch."""
    if stream is None:
        records = records or records_of(base, result)
        parts = [records[n : n + 32] for n in range(0, len(records), 32)]
        stream = stored(b"".join(group(*part) for part in parts))
    return header(base, result, **more) + stream


def compressed(result, **more):
    """A firmware that needs no base."""
    pieces = [result[n : n + 65535] for n in range(0, len(result), 65535)]
    records = [(0, 0, [], piece) for piece in pieces]
    return patch(b"", result, records, version="", **more)
