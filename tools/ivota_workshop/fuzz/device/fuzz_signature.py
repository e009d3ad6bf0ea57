"""Read the end of signed firmware: the key's owner signed every accepted bit.

The input is the whole firmware; this phase does not read its payload.
"""

import room

from ivota import OtaError
from ivota.owner_signature import header

reference = None  # the signed header according to the host's library, or None


class Firmware:
    slot = None
    version = "0.2"

    def __init__(self, path, size):
        self.path = path
        self.size = size


def check(data):
    firmware = Firmware(room.put("fw.bin", data), len(data))
    keys = [room.FOLDER + "/owner.pub"]
    try:
        found = header(firmware, keys)
    except OtaError as error:
        assert error.code == -5 and error.reject and error.message[:11] == "signature: "
        assert not reference or reference(data) is None
        return "refused"
    assert 0 < len(found) <= 512
    assert firmware.payload_size == len(data) - 12 - 384 - len(found)
    assert data[firmware.payload_size :].startswith(found)
    assert not reference or reference(data) == found, "nobody has signed it"
    return "signed"
