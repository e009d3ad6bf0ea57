"""Functions that run on the board: MicroPython code that Mpremote.ask sends as source.

Each contains its own imports, because only the functions that a command needs are sent. They do
not use the package on the board, so that they work whatever state it is in.
"""

from typing import Any

feeding: Any  # on the board: the timer of `feed_watchdog`; None on an esp32, which needs none


def digest(path: str) -> list[Any] | None:
    """Return [size, SHA-256] of a file, or None if it does not exist."""
    import binascii
    import hashlib

    try:
        file = open(path, "rb")
    except OSError:
        return None
    size = 0
    found = hashlib.sha256()
    with file:
        while True:
            data = file.read(512)
            if not data:
                break
            size += len(data)
            found.update(data)
    return [size, binascii.hexlify(found.digest()).decode()]


def load(path: str) -> Any:
    """Load a JSON file, or its temporary file after a power cut, or return None."""
    import json

    for name in (path, path + "~"):
        try:
            with open(name) as file:
                return json.load(file)
        except (OSError, ValueError):
            pass
    return None


def listing(folder: str) -> list[Any]:
    """List [name, is a folder] of a folder; a missing folder is empty."""
    import os

    try:
        entries = list(os.ilistdir(folder))  # type: ignore[attr-defined]
    except OSError:
        return []
    return sorted([entry[0], entry[1] == 0x4000] for entry in entries)


def identify() -> dict[str, Any]:
    """Return the board's interpreter, hardware and free space; sizes in bytes."""
    import os
    import sys

    implementation: Any = sys.implementation
    try:
        mounts = __import__("vfs").mount()
    except (ImportError, TypeError):
        mounts = []  # before 1.25 mount() lists nothing
    stat = os.statvfs("/")
    return {
        "name": implementation.name,
        "version": ".".join(str(part) for part in implementation[1] if part != ""),
        "machine": getattr(implementation, "_machine", sys.platform),
        "platform": sys.platform,
        "mpy": getattr(implementation, "_mpy", 0) & 0xFF,
        "file_system": "".join(str(fs).strip("<>") for fs, path in mounts if path == "/"),
        "block": stat[0],
        "size": stat[1] * stat[2],
        "free": stat[0] * stat[3],
        "mac": mac(),
    }


def mac() -> str:
    """Return the value of {mac} in a name, or {mac} if the unique id is not a MAC address."""
    import binascii

    try:
        number = __import__("machine").unique_id()
    except (ImportError, AttributeError):
        return "{mac}"
    return binascii.hexlify(number).decode() if len(number) == 6 else "{mac}"


def look(
    paths: list[str], folders: list[str], heads: list[str], modules: list[str]
) -> dict[str, Any]:
    """Return what is on the board; `heads` are the first 2 KiB of files, in hexadecimal."""
    import binascii

    found = identify()
    found["files"] = {path: digest(path) for path in paths}
    found["folders"] = {folder: listing(folder) for folder in folders}
    found["heads"] = {}
    for path in heads:
        try:
            with open(path, "rb") as file:
                found["heads"][path] = binascii.hexlify(file.read(2048)).decode()
        except OSError:
            pass
    found["missing"] = []
    for name in modules:
        try:
            __import__(name)
        except ImportError:
            found["missing"].append(name)
    return found


def feed_watchdog(state: str) -> bool:
    """Keep a watchdog that the stopped program armed from resetting the board during a copy.

    A watchdog survives the program and a soft reset, and cannot be stopped, so only one that is
    already armed is touched: the agent records in the state which one it armed, and boot.py arms
    one in a trial. An esp32 accepts a longer timeout at any time; elsewhere a timer feeds it.
    """
    import sys

    global feeding
    status = load(state)
    if not isinstance(status, dict) or not (status.get("armed") or status.get("trial")):
        return False
    # Three days; elsewhere the longest timeout that every port supports.
    longest = 1 << 28 if sys.platform == "esp32" else 8000
    try:
        machine: Any = __import__("machine")
        dog = machine.WDT(timeout=longest)
    except (ImportError, AttributeError, OSError, ValueError):
        return False
    if longest > 8000:
        feeding = None
        return True
    for number in (-1, 0):  # some ports have only numbered timers
        try:
            feeding = machine.Timer(number, period=1000, callback=lambda _: dog.feed())
            return True
        except ValueError:
            pass
    return False


def stop_feeding() -> None:
    """End what `feed_watchdog` did, for a program on trial that goes on and feeds it itself."""
    if "feeding" not in globals():
        return
    if feeding:
        feeding.deinit()
    else:  # as boot.py does
        machine: Any = __import__("machine")
        machine.WDT(timeout=60000)


def make_folders(folders: list[str]) -> None:
    """Create missing folders."""
    import os

    for folder in folders:
        try:
            os.mkdir(folder)
        except OSError:
            pass


def swap(files: list[list[str]], aside: list[list[str]], unwanted: list[str]) -> list[str]:
    """Move the copied temporary files into place if all of them arrived intact.

    `files` are [path, SHA-256], `aside` are [from, to] of files to keep. Returns the paths that
    arrived damaged; in that case nothing was changed.
    """
    import os

    damaged = [path for path, wanted in files if (digest(path + "~") or [0, ""])[1] != wanted]
    if damaged:
        return damaged
    for old, new in aside:
        os.rename(old, new)
    for path in unwanted:
        os.remove(path)
    for path, _ in files:
        os.rename(path + "~", path)
    return []


def is_bundle(path: str) -> bool:
    """Return whether a file starts like a bundle."""
    try:
        with open(path, "rb") as file:
            return file.read(3) == b"\xd2\xcd\x31"
    except OSError:
        return False


def checkpoints(folder: str) -> list[Any]:
    """Return the unfinished downloads; `position` is the number of bytes on flash."""
    import os

    found = []
    for name, _ in listing(folder):
        if not name.endswith(".json"):
            continue
        value = load(folder + "/" + name)
        if not isinstance(value, dict) or "md5sum" not in value:
            continue
        try:
            position = os.stat(folder + "/" + name[:-5] + ".bin")[6]
        except OSError:
            position = value.get("position", 0)
        found.append(
            {
                "version": value.get("version"),
                "md5sum": value["md5sum"],
                "file_size": value.get("file_size"),
                "position": position,
            }
        )
    return found


def partitions() -> list[Any]:
    """Return the application partitions of an ESP32; none on other boards."""
    try:
        Partition: Any = __import__("esp32").Partition
    except ImportError:
        return []
    running = Partition(Partition.RUNNING).info()[4]
    try:
        boot = Partition(Partition.BOOT).info()[4]
    except OSError:  # ENOENT without OTA slots: the only image boots
        boot = running
    return [
        {
            "label": info[4],
            "size": info[3],
            "ota": 0x10 <= info[1] < 0x20,  # ESP-IDF's subtypes ota_0 … ota_15
            "running": info[4] == running,
            "boot": info[4] == boot,
        }
        for info in [each.info() for each in Partition.find(Partition.TYPE_APP)]
    ]


def boot_files() -> dict[str, Any] | None:
    """Return which bundles the boot files can start, as an updater sees it; None without such
    files.
    """
    import sys

    known = "bundlefs" in sys.modules
    try:
        found: Any = __import__("bundlefs")
        return {"formats": list(found.FORMATS), "version": found.VERSION}
    except Exception:  # not there, damaged, or no memory to compile it
        return None
    finally:
        if not known:
            sys.modules.pop("bundlefs", None)


def frozen_updater(place: str = ".frozen") -> str | None:
    """Return the version of the updater in the board's firmware, or None."""
    import sys

    path = sys.path[:]
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name[:5] == "ivota"}
    sys.path[:] = [place]
    try:
        return str(__import__("ivota").__version__)
    except (ImportError, AttributeError, MemoryError):
        return None
    finally:
        sys.path[:] = path
        for name in list(sys.modules):
            if name[:5] == "ivota":
                del sys.modules[name]
        sys.modules.update(ours)


def describe(config: str, state: str, paths: list[str], clear: bool) -> dict[str, Any]:
    """Return the data for `status`. With `clear`, also allow rejected firmware again."""
    import binascii
    import json
    import os
    import sys

    found = identify()
    settings, status = load(config), load(state)
    if not isinstance(settings, dict):
        settings = {}
    if not isinstance(status, dict):
        status = {}
    status.pop("crc", None)
    if clear and (status.pop("rejected", None) or status.get("failures")):
        status.pop("failures", None)
        # As ivota.json_file has it: the last key is the CRC of the text before it.
        head = json.dumps(status)[:-1] + (", " if status else "")
        crc = binascii.crc32(head.encode())
        with open(state + "~", "w") as file:
            file.write(head + f'"crc": "{crc:08x}"' + "}")
        os.rename(state + "~", state)
    broker = settings.get("mqtt") or {}
    found["device"] = None
    if settings:
        name = str(settings.get("device_name")).replace("{mac}", found["mac"])
        found["device"] = "{}/{}".format(settings.get("product_id"), name)
    found["broker"] = broker.get("host")
    found["state"] = status
    folder = settings.get("firmware_dir") or "/firmware"
    found["threads"] = "ivota.thread_runner" in sys.modules
    found["checkpoints"] = checkpoints(folder)
    found["partitions"] = partitions()
    found["package"] = {path: digest(path) for path in paths}
    found["boot"] = boot_files()
    found["frozen"] = frozen_updater()
    # Like agent.py: boot.py may have skipped the bundle in the state.
    mounted = load("/app/ivota.json") if "/app" in sys.path else None
    if isinstance(mounted, dict):
        found["runs"] = ["bundle", mounted.get("version")]
    else:
        try:
            found["runs"] = ["image", __import__("ivota_image").VERSION]
        except (ImportError, AttributeError):
            found["runs"] = ["configuration", settings.get("version", "0")]
    return found


def written(config: str, state: str) -> dict[str, Any]:
    """Return the files written by the package (state and firmware) and the firmware folder.

    An application can share that folder, so only known files are listed: bundles, files in the
    state, and unfinished downloads. The folder is "" if it is the root.
    """
    settings, status = load(config), load(state)
    folder = isinstance(settings, dict) and settings.get("firmware_dir") or "/firmware"
    folder = folder.rstrip("/")
    named = []
    if isinstance(status, dict):
        named = [status.get("active"), status.get("previous")]
        # A patch is kept next to its result until that is confirmed.
        named += [path[:-4] + ".bin" for path in named if path and path[-4:] == ".new"]
    at_root = [entry[0] for entry in listing("/")]
    found = [path for path in (state, state + "~") if path[1:] in at_root]
    for name, is_folder in listing(folder or "/"):
        if is_folder:
            continue
        path = folder + "/" + name
        stem, _, ending = name.rpartition(".")
        checkpoint = load(folder + "/" + stem + ".json")
        unfinished = isinstance(checkpoint, dict) and "md5sum" in checkpoint
        if path in named or is_bundle(path):
            found.append(path)
        elif unfinished and ending in ("bin", "new", "json", "json~"):
            found.append(path)
    return {"files": found, "folder": folder}


def erase(paths: list[str], folders: list[str], back: list[list[str]]) -> list[str]:
    """Remove files, then empty folders; return the removed paths.

    `back` are [from, to] of files to restore.
    """
    import os

    gone = []
    for path in paths:
        try:
            os.remove(path)
            gone.append(path)
        except OSError:
            pass
    for path in folders:
        try:
            if not list(os.ilistdir(path)):  # type: ignore[attr-defined]
                os.rmdir(path)
                gone.append(path)
        except OSError:
            pass
    for old, new in back:
        os.rename(old, new)
    return gone
