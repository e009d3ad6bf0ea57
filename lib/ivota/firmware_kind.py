"""What a firmware is, told by its first bytes: the one place that knows them (docs/formats.md)."""

HEAD = 8  # bytes that tell
ROMFS = b"\xd2\xcd\x31"
IMAGE = b"\xe9"  # of every ESP32 image, and of nothing else that is installed


def kind_of(head):
    """ "bundle", "patch", "esp32-image" or "other"."""
    if head[:3] == ROMFS:
        return "bundle"
    if head[:8] == b"IVOTADLT":
        return "patch"
    return "esp32-image" if head[:1] == IMAGE else "other"
