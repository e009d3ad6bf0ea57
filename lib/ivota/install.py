"""A verified firmware becomes what starts next, by its first bytes."""

import binascii
import hashlib

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_CHUNK = const(512)
_FILES = const(256)  # a bundle with more would not fit a board's heap as an index


class Installer:
    """What gets one firmware in the agent: a bundle becomes active, an image the next to boot."""

    def __init__(self, client):
        self._client = client
        self._work = None

    def check(self, firmware):
        """Examine a piece of the firmware on flash; True when all of it is as it should be.

        Raises OtaError(-5) for what must not be started.
        """
        if self._work is None:
            self._work = _examine(self._client.state, firmware)
        for _ in self._work:
            return False
        return True

    def __call__(self, firmware):
        """Make it active as a trial, a bundle with one write, and end the client for a restart."""
        client = self._client
        limits = client.config["trial"]
        trial = {
            "version": firmware.version,
            "md5sum": firmware.md5,
            "limits": [limits["starts"], limits["power_boots"]],
        }
        if firmware.echo:
            trial["echo"] = firmware.echo
        if client.config["keys"]:
            trial["sequence"] = firmware.sequence
        module = once("image" if firmware.slot else "state")
        module.activate(client.state, firmware.path, trial)
        client.restart = True
        client.exit()


def _examine(state, firmware):
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
    listed, with a path that leaves it, with another order, or with too many files.
    """
    member = once("ustar").member
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
                parts = name.split("/")
                # In order, so that none is listed twice in the place of one that is not.
                if (
                    name <= last
                    or name == "ivota.json"
                    or "" in parts
                    or "." in parts
                    or ".." in parts
                    or "\\" in name
                ):
                    raise ValueError("the path or the order of " + name)
                if found != name:
                    raise ValueError("%s is listed, %s is there" % (name, found or "nothing"))
                if size != entry["size"]:
                    raise ValueError("the length of " + name)
                count += 1
                last = name
                runs = runs or name in ("app.py", "app.mpy")
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
        if found or count > _FILES:
            raise ValueError("%d files, %s is not listed" % (count, found))
        if not runs:
            raise ValueError("no app.py in it")
    # A list of any shape may stand in the file: whatever does not fit is the bundle's fault.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OtaError(_FAILED, "the bundle can't be used: %s" % error)
