"""Send HTTP header names in their traditional case: `Content-Length`, `ETag`.

The case of a name has no meaning, and ASGI servers send lower case. But embedded clients, the
vendor's C SDKs among them, search the response for `Content-Length` in exactly this case.
"""

from __future__ import annotations

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_SPECIAL = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate"}


def canonical(name: bytes) -> bytes:
    """Return a header's name in its usual case."""
    return _SPECIAL.get(name.lower()) or b"-".join(
        part.capitalize() for part in name.lower().split(b"-")
    )


class _Connection(h11.Connection):
    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        if isinstance(event, h11.Response):
            event = h11.Response(
                status_code=event.status_code,
                headers=[(canonical(name), value) for name, value in event.headers],
                http_version=event.http_version,
                reason=event.reason,
            )
        return super().send_with_data_passthrough(event)


class CanonicalNames(H11Protocol):
    """uvicorn's protocol with such names in every response, including errors."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn = _Connection(h11.SERVER, self.conn._max_incomplete_event_size)

    def send_400_response(self, msg: str) -> None:
        """Like uvicorn's, with the Content-Length that such clients search for."""
        body = msg.encode("ascii", "replace")
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        refusal = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (refusal, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
