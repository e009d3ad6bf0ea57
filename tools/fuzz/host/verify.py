"""`ivota verify`: a firmware that it takes was signed by the key's owner, and is whole."""

from __future__ import annotations

import hashlib

from ivota_tools import signing
from ivota_tools.bundle import ReleaseError
from ivota_tools.fuzz.targets import signature
from ivota_tools.fuzz.targets.verify import KEY
from ivota_tools.signing_keys import load_public

_KEY = load_public(KEY)


def check(data: bytes) -> str:
    try:
        trailer = signing.verify(data, [_KEY])
    except ReleaseError:
        return "refused"
    payload, again = signing.split(data)
    assert again == trailer
    assert signature.reference(data, KEY.read_bytes()) == trailer.signed, "nobody has signed it"
    header = trailer.header
    assert header.sha256 == hashlib.sha256(payload).hexdigest() and header.size == len(payload)
    assert 1 <= header.sequence <= signing.SEQUENCE_MOST
    return "signed"
