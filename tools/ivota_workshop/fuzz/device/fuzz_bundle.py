"""Examine a bundle, and mount it if it passes: the mounted files must be the examined ones."""

import json

import room

from bundlefs import Bundle
from ivota import OtaError, boot_compatibility, bundle_check


def check(data):
    path = room.put("fw.bin", data)
    steps = 0
    with open(path, "rb") as file:
        for length in (len(data) // 2, len(data)):  # its first block, and then the whole bundle
            try:
                boot_compatibility.check_beginning(file, length)
            except OtaError as error:
                assert error.code == -5 and not error.again and not error.reject
                return "not for this board"
    try:
        for _ in bundle_check.examine(path, "0.2"):
            steps += 1
    except OtaError as error:
        assert error.code == -5 and not error.again
        return "refused"
    assert steps <= len(data) // 4 + 1
    mounted = Bundle(path)
    names = files(mounted, "", 0)
    assert len(set(names)) == len(names) <= steps
    assert "app.py" in names or "app.mpy" in names
    for name in names:
        parts = name.split("/")
        assert "" not in parts and "." not in parts and ".." not in parts and "\\" not in name
        with mounted.open("/" + name, "rb") as file:
            content = file.read()
        assert content in data
        assert len(content) == mounted.stat("/" + name)[6]
        if name == "config.json" and len(content) <= 16384:
            config = json.loads(content)
            for key in ("product_id", "device_name", "device_secret"):
                assert config.get(key) is None, "it says who the board is"
    room.inside(room.FOLDER + "/fw.bin")
    return "bundle of %d" % len(names)


def files(mounted, folder, depth):
    """Return all names in the bundle."""
    assert depth < 12
    found = []
    for entry in mounted.ilistdir("/" + folder):
        name = (folder + "/" if folder else "") + entry[0]
        if entry[1] & 0x4000:
            found += files(mounted, name, depth + 1)
        else:
            found.append(name)
    return found
