"""Check which header fields of a firmware are accepted after its signature was verified.

The owner has signed the header, but mistakes in it must still be detected.
"""

import binascii
import hashlib
import json

import room

from ivota import OtaError
from ivota.signed_claims import examine

PAYLOAD = b"payload" * 90
CONFIRMED = 5


class Firmware:
    slot = None
    version = "0.2"
    sequence = kind = None
    size = len(PAYLOAD) + 500
    payload_size = len(PAYLOAD)


def check(data):
    firmware = Firmware()
    firmware.path = room.put("fw.bin", PAYLOAD)
    try:
        for _ in examine(firmware, data, "t", CONFIRMED):
            pass
    except OtaError as error:
        assert error.code == -5 and error.reject and error.message[:11] == "signature: "
        assert firmware.sequence is None and firmware.kind is None
        return "refused"
    except MemoryError:
        return "MemoryError"
    said = json.loads(data)
    assert said["version"] == "0.2" and said["target"] == "t" and said["v"] == 1
    assert type(firmware.sequence) is int and firmware.sequence > CONFIRMED
    assert said["size"] == len(PAYLOAD) and firmware.kind == "other"
    assert said["sha256"] == binascii.hexlify(hashlib.sha256(PAYLOAD).digest()).decode()
    return "accepted"
