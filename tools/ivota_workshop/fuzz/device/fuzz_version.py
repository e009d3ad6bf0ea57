"""Derive the file name of a version: no push may choose a path."""

from ivota.firmware_folder import file_stem

SAFE = "abcdefghijklmnopqrstuvwxyz0123456789._-"


def check(data):
    try:
        version = str(data, "utf-8")
        stem = file_stem(version)
    except ValueError:
        return "no text"
    assert 0 < len(stem) <= 32 and all(char in SAFE for char in stem), "escaped: " + stem
    assert stem[0] != ".", "escaped: " + stem
    if stem != version:
        assert len(stem) == 16 and all(char in "0123456789abcdef" for char in stem)
    return stem
