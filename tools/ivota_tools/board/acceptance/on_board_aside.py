"""Functions that run on the board: set its files aside for a run, and put them back after it.

Renames alone do both, so the files need no second copy of room and no host to keep them. A cut
at any point leaves what `put_back` completes: while the marker is missing, nothing was installed
over a path that is still in place.
"""

from typing import Any

from ivota_tools.board.on_board import load


def remove_tree(path: str) -> None:
    """Removes a file, or a folder with all that is in it; nothing where there is none."""
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
    """Whether a version is on trial."""
    status = load(state)
    return isinstance(status, dict) and bool(status.get("trial"))


def is_aside(aside: str) -> bool:
    """Whether an earlier run has set files aside and never put them back."""
    import os

    try:
        os.stat(aside)
        return True
    except OSError:
        return False


def set_aside(paths: list[str], extra: list[str], aside: str) -> list[str]:
    """Renames what is at `paths` into the folder `aside`; returns what was there.

    The marker lists what the run may write, `paths` and `extra`. Raises OSError where a file
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
    """Removes what the run has written, and renames everything back; returns what that was."""
    import json
    import os

    marker = aside + "/complete"
    try:
        with open(marker) as file:
            written = json.load(file)
    except (OSError, ValueError):
        written = []  # cut off while setting aside or putting back: only renames are left
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
    """[path, size, CRC-32] of all files of the file system at /, and [path] of all folders."""
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
