"""Functions that run on the board: move its files aside for a test, and restore them.

Both directions only rename, so the files need no extra room and no copy on the host. `put_back`
completes whatever a power cut interrupts: until the marker exists, nothing has been installed over
a path that is still in place.
"""

from typing import Any

from ivota_tools.board.on_board import load


def remove_tree(path: str) -> None:
    """Delete a file, or a folder with its contents, if it exists."""
    import os

    try:
        entries = list(os.ilistdir(path))  # type: ignore[attr-defined]
    except OSError:
        entries = None
    try:
        if entries is None:
            os.remove(path)
        else:
            for entry in entries:
                remove_tree(path + "/" + entry[0])
            os.rmdir(path)
    except OSError:
        pass


def in_trial(state: str) -> bool:
    """Return whether a version is on trial."""
    status = load(state)
    return isinstance(status, dict) and bool(status.get("trial"))


def is_aside(aside: str) -> bool:
    """Return whether an earlier test moved files aside and never restored them."""
    import os

    try:
        os.stat(aside)
        return True
    except OSError:
        return False


def set_aside(paths: list[str], extra: list[str], aside: str) -> list[str]:
    """Rename the files at `paths` into the folder `aside`; return those that exist.

    The marker lists what the test may write, `paths` and `extra`. Raises OSError if a file
    stays in place: nothing may be installed then.
    """
    import json
    import os

    os.mkdir(aside)
    moved = []
    for path in paths:
        try:
            os.stat(path)
        except OSError:
            continue
        os.rename(path, aside + "/" + path.replace("/", "!"))
        moved.append(path)
    with open(aside + "/complete", "w") as file:
        json.dump(paths + extra, file)
    return moved


def put_back(aside: str) -> list[str]:
    """Delete what the test has written, and rename everything back; return the restored paths."""
    import json
    import os

    marker = aside + "/complete"
    try:
        with open(marker) as file:
            written = json.load(file)
    except (OSError, ValueError):
        written = []  # moving was interrupted: the files only have to be renamed back
    for path in written:
        remove_tree(path)
    remove_tree(marker)
    back = []
    for entry in list(os.ilistdir(aside)):  # type: ignore[attr-defined]
        path = entry[0].replace("!", "/")
        os.rename(aside + "/" + entry[0], path)
        back.append(path)
    os.rmdir(aside)
    return back


def checksums(folder: str) -> list[Any]:
    """Return [path, size, CRC-32] of all files in the file system at /, and [path] of folders."""
    import binascii
    import os

    try:
        others = [path for _, path in __import__("vfs").mount()]
    except (ImportError, TypeError):
        others = []
    found: list[Any] = []
    buffer = bytearray(512)
    view = memoryview(buffer)
    for entry in os.ilistdir(folder or "/"):  # type: ignore[attr-defined]
        path = folder + "/" + entry[0]
        if path in others:
            continue
        if entry[1] == 0x4000:
            found.append([path])
            found += checksums(path)
            continue
        size = crc = 0
        with open(path, "rb") as file:
            while True:
                n = file.readinto(buffer)
                if not n:
                    break
                crc = binascii.crc32(view[:n], crc)
                size += n
        found.append([path, size, crc & 0xFFFFFFFF])
    return found
