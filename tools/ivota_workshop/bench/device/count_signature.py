"""Verify a firmware N times, as an update does: `count_signature.py KEY FIRMWARE N`.

It loads only the parts of the package that it uses and that a board has in its heap anyway.
"""

import sys

from ivota import guarded_socket, once  # noqa: F401


class Firmware:
    path = sys.argv[2]
    version = "2"
    slot = None

    def __init__(self):
        with open(self.path, "rb") as file:
            self.size = file.seek(0, 2)


for _ in range(int(sys.argv[3])):
    firmware = Firmware()
    header = once("owner_signature").header(firmware, [sys.argv[1]])
    for _ in once("signed_claims").examine(firmware, header, "t", 1):
        pass
    assert firmware.sequence == 2
