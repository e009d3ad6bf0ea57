"""What a verified firmware is, by its first bytes, and whether it is whole."""

import binascii
import hashlib

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_CHUNK = const(512)
_FILES = const(256)  # a bundle with more would not fit a board's heap as an index


def examine(state, firmware):
    """Look at what would start, a chunk at each step of this generator.

    Raises OtaError(-5) for what must not be started.
    """
    if firmware.slot:
        once("image").examine(state, firmware.md5)
        return
    with open(firmware.path, "rb") as file:
        head = file.read(10)
    if head[:1] == b"\xe9":
        raise OtaError(_FAILED, "this board has no slot for an ESP32 image")
    if head != b"ivota.json":
        raise OtaError(_FAILED, "neither a bundle nor an image, and no callback takes it")
    yield from examine_bundle(firmware.path, firmware.version)


def examine_bundle(path, version):
    """Compare each file of a bundle with its file list, a chunk at each step of this generator.

    The list and the archive are gone through side by side, so neither is held whole. Raises
    OtaError(-5) for a bundle of another version, with a file that is damaged, missing or not
    listed, with a path that leaves it, with another order, with too many files, or with a
    configuration that says who the board is.
    """
    buffer = bytearray(_CHUNK)
    count = 0
    last = ""
    runs = False
    try:
        with open(path, "rb") as file, open(path, "rb") as data:
            name, size = member(data, 0, buffer)
            if name != b"ivota.json":
                raise ValueError("it does not begin with its list")
            at = _CHUNK + (size + 511) // 512 * 512
            file.seek(_CHUNK)
            for entry in once("filelist").entries(file, size):
                found, size = member(data, at, buffer)
                found = str(found, "utf-8")
                if "files" in entry:
                    break
                name = entry["path"]
                inside = all(part.strip(".") for part in name.split("/"))
                # In order, so that none is listed twice in the place of one that is not.
                if (
                    name <= last
                    or name == "ivota.json"
                    or not inside
                    or 92 in name.encode()  # a backslash: as a text it would be one more name
                ):
                    raise ValueError("the path or the order of " + name)
                if found != name:
                    raise ValueError("%s is listed, '%s' is there" % (name, found))
                if size != entry["size"]:
                    raise ValueError("the length of " + name)
                count += 1
                if count > _FILES:
                    raise ValueError("more than %d files" % _FILES)
                last = name
                runs = runs or name in ("app.py", "app.mpy")
                if name == "config.json":
                    once("overrides").check(data, size)
                    data.seek(at + _CHUNK)
                digest = hashlib.sha256()
                while size > 0:
                    n = data.readinto(buffer, min(size, _CHUNK))
                    if not n:
                        raise ValueError("the end of " + name)
                    digest.update(memoryview(buffer)[:n])
                    size -= n
                    yield
                if binascii.hexlify(digest.digest()).decode() != entry["sha256"]:
                    raise ValueError("the contents of " + name)
                at = data.tell() + 511 & ~511
        if entry["format"] != 1 or entry["version"] != version:
            raise ValueError("version %s, format %s" % (entry["version"], entry["format"]))
        if found:
            raise ValueError("%s is not listed" % found)
        if not runs:
            raise ValueError("no app.py in it")
    # A list of any shape may stand in the file: whatever does not fit is the bundle's fault.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OtaError(_FAILED, "the bundle can't be used: %s" % error)


def member(file, at, header):
    """(name, size) of the plain file whose header lies at `at`; an empty name at the end.

    As `bundlefs` reads it, which boot.py needs without this package; one test holds both to the
    same answers.

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
