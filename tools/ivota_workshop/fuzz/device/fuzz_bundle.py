"""A bundle is examined, and one that passes is mounted: what is there is what was listed."""

import binascii
import hashlib
import json

import room

from bundlefs import Bundle, member
from ivota import OtaError, examine


def check(data):
    path = room.put("fw.bin", data)
    both(path, data)
    steps = 0
    try:
        for _ in examine.examine_bundle(path, "0.2"):
            steps += 1
    except OtaError as error:
        assert error.code == -5 and not error.again
        return "refused"
    assert steps <= len(data) // 512 + 1
    mounted = Bundle(path)
    names = files(mounted, "", 0)
    assert "app.py" in names or "app.mpy" in names
    for name in names:
        parts = name.split("/")
        assert "" not in parts and "." not in parts and ".." not in parts and "\\" not in name
        if name == "ivota.json":
            continue
        with mounted.open("/" + name, "rb") as file:
            content = file.read()
        digest = binascii.hexlify(hashlib.sha256(content).digest())
        assert digest in data, "not what was listed: " + name
        assert len(content) == mounted.stat("/" + name)[6]
        if name == "config.json" and len(content) <= 16384:
            config = json.loads(content)
            for key in ("product_id", "device_name", "device_secret"):
                assert config.get(key) is None, "it says who the board is"
    room.inside(room.FOLDER + "/fw.bin")
    return "bundle of %d" % len(names)


def files(mounted, folder, depth):
    """All names in it."""
    assert depth < 50
    found = []
    for entry in mounted.ilistdir("/" + folder):
        name = (folder + "/" if folder else "") + entry[0]
        if entry[1] & 0x4000:
            found += files(mounted, name, depth + 1)
        else:
            found.append(name)
    return found


def both(path, data):
    """Both readers of headers say the same of what might be one."""
    with open(path, "rb") as file:
        for at in range(0, len(data), 512):
            if at and data[at + 257 : at + 262] != b"ustar":
                continue
            said = []
            for function in (member, examine.member):
                try:
                    said.append(function(file, at, bytearray(512)))
                except ValueError:
                    said.append(None)
            assert said[0] == said[1], said
