"""Recognize a bundle, a patch or an image by its first bytes (docs/formats.md)."""

HEAD = 8  # bytes that identify the kind
ROMFS = b"\xd2\xcd\x31"
IMAGE = b"\xe9"  # of every ESP32 image, and of no other firmware


def kind_of(head):
    """Return "bundle", "patch", "esp32-image" or "other"."""
    if head[:3] == ROMFS:
        return "bundle"
    if head[:8] == b"IVOTADLT":
        return "patch"
    return "esp32-image" if head[:1] == IMAGE else "other"


def kind_at(path):
    """Return the kind of the firmware in the file at `path`."""
    with open(path, "rb") as file:
        return kind_of(file.read(HEAD))
