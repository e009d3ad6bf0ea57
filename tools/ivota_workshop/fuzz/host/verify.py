"""Run `ivota verify`: the key's owner signed any firmware that it accepts, and it is complete."""

from __future__ import annotations

import hashlib

from ivota_tools.firmware import signed_file
from ivota_tools.firmware.bundle import ReleaseError
from ivota_tools.firmware.signing_keys import load_public
from ivota_workshop.fuzz.targets import signature
from ivota_workshop.fuzz.targets.verify import KEY

_KEY = load_public(KEY)


def check(data: bytes) -> str:
    try:
        trailer = signed_file.verify(data, [_KEY])
    except ReleaseError:
        return "refused"
    payload, again = signed_file.split(data)
    assert again == trailer
    assert signature.reference(data, KEY.read_bytes()) == trailer.signed, "nobody has signed it"
    header = trailer.header
    assert header.sha256 == hashlib.sha256(payload).hexdigest() and header.size == len(payload)
    assert 1 <= header.sequence <= signed_file.SEQUENCE_MOST
    return "signed"
