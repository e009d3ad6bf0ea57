"""A verified firmware becomes what starts next, by its first bytes."""

import binascii
import hashlib

from ivota.errors import FAILED, OtaError

_CHUNK = 512
_FILES = 256  # a bundle with more would not fit a board's heap as an index


class Installer:
    """The agent's `on_firmware`: bundles become active, `other` gets what only it can burn."""

    def __init__(self, state, other=None):
        self.client = None  # set once there is one; it is told when to end
        self._state = state
        self._other = other
        self._work = None
        self._firmware = None
        self._bundle = False

    def check(self, firmware):
        """Examine a piece of the firmware on flash; True when all of it is as it should be.

        Raises OtaError(-5) for what must not be started.
        """
        # Another push may have come while the files of the one before were looked at.
        if self._work is None or self._firmware is not firmware:
            self._firmware = firmware
            self._work = self._examine(firmware)
        try:
            next(self._work)
            return False
        except StopIteration:
            self._work = None
            return True
        except OtaError:
            self._work = None
            raise

    def _examine(self, firmware):
        with open(firmware.path, "rb") as file:
            head = file.read(10)
        self._bundle = head == b"ivota.json"
        if self._bundle:
            yield from examine_bundle(firmware.path, firmware.version)
        elif head[:1] == b"\xe9":
            raise OtaError(FAILED, "this board has no slot for an ESP32 image")
        elif self._other is None:
            raise OtaError(FAILED, "neither a bundle nor an image, and no callback takes it")

    def __call__(self, firmware):
        """Make the bundle active with one write and end the client, for the board to restart."""
        if not self._bundle:
            self._other(firmware)
            return
        limits = self.client.config["trial"]
        trial = {
            "version": firmware.version,
            "md5sum": firmware.md5,
            "limits": [limits["starts"], limits["power_boots"]],
        }
        if firmware.echo:
            trial["echo"] = firmware.echo
        self._state.activate(firmware.path, trial)
        self.client.restart = True
        self.client.exit()


def examine_bundle(path, version):
    """Compare each file of a bundle with its file list, a chunk at each step of this generator.

    Raises OtaError(-5) for a bundle of another version, with a file that is damaged, missing or
    not listed, with a path that leaves it, or with too many files.
    """
    import json

    import bundlefs

    try:
        bundle = bundlefs.Bundle(path)
        yield
        with bundle.open("/ivota.json", "r") as file:
            head = json.load(file)
        if head["format"] != 1 or head["version"] != version:
            raise ValueError("it is of version %s, format %s" % (head["version"], head["format"]))
        listed = head["files"]
        if len(listed) != len(bundle.files) - 1 or len(listed) > _FILES:
            raise ValueError("%d files, %d listed" % (len(bundle.files) - 1, len(listed)))
        buffer = bytearray(_CHUNK)
        last = ""
        for entry in listed:
            name = entry["path"]
            parts = name.split("/")
            # In order, so that none is listed twice in the place of one that is not.
            if name <= last or "" in parts or "." in parts or ".." in parts or "\\" in name:
                raise ValueError("the path or the order of " + name)
            last = name
            digest = hashlib.sha256()
            with bundle.open("/" + name, "rb") as file:
                left = entry["size"]
                if file.size != left:
                    raise ValueError("the length of " + name)
                while left > 0:
                    n = file.readinto(buffer)
                    if not n:
                        raise ValueError("the end of " + name)
                    digest.update(memoryview(buffer)[:n])
                    left -= n
                    yield
            if binascii.hexlify(digest.digest()).decode() != entry["sha256"]:
                raise ValueError("the contents of " + name)
        if "app.py" not in bundle.files and "app.mpy" not in bundle.files:
            raise ValueError("no app.py in it")
    # A list of any shape may stand in the file: whatever does not fit is the bundle's fault.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OtaError(FAILED, "the bundle can't be used: %s" % error)
