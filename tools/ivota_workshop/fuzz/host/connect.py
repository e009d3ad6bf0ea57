"""Read the first packet of a client that signs in, and check what the broker behind receives."""

from __future__ import annotations

import asyncio
import hmac

from ivota_tools.cloud.mqtt import connect_packet, device_sign_in

SECRET = "c2VjcmV0"  # secret
SEEN = "Pd;12010126;12345;2000000000"


async def _packet(data: bytes) -> bytes:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await connect_packet.read_first(reader)


def _right(user: str, method: str) -> str:
    return hmac.new(b"secret", user.encode(), method).hexdigest()


_loop = asyncio.new_event_loop()


def check(data: bytes) -> str:
    try:
        body = _loop.run_until_complete(_packet(data))
        found = connect_packet.read_connect(body)
    except connect_packet.Refused as refused:
        assert refused.code in (None, connect_packet.BAD_VERSION)
        return "refused"
    except asyncio.IncompleteReadError:
        return "cut"
    assert len(body) <= connect_packet.CONNECT_MOST
    # The forwarded packet differs only in the identity, which is the one that was verified.
    told = found.as_user("P/d")
    again = connect_packet.read_connect(_loop.run_until_complete(_packet(told)))
    assert again.client_id == "P/d" and again.middle == found.middle
    assert again.user == "P/d" and again.password == "" and not again.flags & 0x40
    assert again.protocol == found.protocol and again.keepalive == found.keepalive
    assert len(again.keepalive) == 2, "cut in the keep-alive"
    assert again.flags & 0x3F == found.flags & 0x3F
    words = found.client_id, found.user, found.password
    signed = device_sign_in.is_signed(*words, SECRET, 1_700_000_000)
    if signed:
        # Without the secret, only a signature that was seen can be right: the seeds have this
        # user's.
        assert found.user == SEEN and found.client_id == "Pd", "signed by nobody"
        digest, _, method = found.password.partition(";hmac")
        assert digest.lower() == _right(SEEN, method), "another signature"
    return "signed" if signed else "not signed"
