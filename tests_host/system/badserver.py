"""An HTTP server of firmware that misbehaves as it is told, and remembers who asked for what."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from waiting import wait_until

_PIECE = 4096


@dataclass(frozen=True)
class Step:
    """How one request is answered; the defaults are what HTTP asks for.

    `status`: that one, with an error page for a body. `ignore_range`: 200 and all of it. `total`:
    said in Content-Range (and in Content-Length of a 200) instead of the size. `start`: of a 206,
    instead of the one asked for. `close_after`: bytes of the body, then the end of the stream.
    `hold_at`: bytes of the body, then nothing until `BadServer.release()`. `headers`: further
    ones, None takes one away. `body`: what is sent in place of the firmware.
    """

    status: int = 0
    ignore_range: bool = False
    total: int | None = None
    start: int | None = None
    close_after: int | None = None
    hold_at: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None


GOOD = Step()


@dataclass
class Request:
    """What came in, and how many bytes of body went out."""

    path: str
    headers: dict[str, str]  # names in lower case
    at: float  # time.monotonic()
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def first(self) -> int:
        """The first byte that was asked for."""
        return parse_range(self.range)[0]

    @property
    def last(self) -> int | None:
        """The last byte that was asked for by number."""
        return parse_range(self.range)[1]


class BadServer:
    """`add(path, data, steps)` serves a file; each request takes a step, then all is good."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rate: float | None = None  # bytes per second and connection
        self._files: dict[str, tuple[bytes, list[Step]]] = {}
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> BadServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, path: str, data: bytes, steps: Sequence[Step] = ()) -> str:
        """Serves `data`; returns the URL."""
        self._files[path] = (data, list(steps))
        return self.url(path)

    def url(self, path: str, port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.port}{path}"

    def release(self) -> None:
        """Lets what is held go on, now and later."""
        self._released.set()

    def asked(self, path: str) -> list[Request]:
        """The requests of one file, without its query, the oldest first."""
        return [each for each in self.requests if each.path.partition("?")[0] == path]

    def wait_sent(self, path: str, size: int, number: int = 1) -> None:
        """Waits until the newest request of `path`, of at least `number`, has that many bytes of
        its body."""
        wait_until(
            lambda: len(asked := self.asked(path)) >= number and asked[-1].sent >= size,
            f"{size} bytes of {path} by request {number}",
        )

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(
            handler.path,
            {name.lower(): value for name, value in handler.headers.items()},
            time.monotonic(),
        )
        self.requests.append(request)
        found = self._files.get(handler.path.partition("?")[0])
        if found is None:
            self._send(handler, request, Step(404), 404, b"<html>nothing here</html>", {})
            return
        data, steps = found
        step = steps.pop(0) if steps else GOOD
        headers: dict[str, str | None] = {"Content-Type": "application/octet-stream"}
        if step.status:
            headers["Content-Type"] = "text/html"
            # Long enough to be taken for firmware by who does not look at the status.
            page = b"<html>" + b"this is an error page\n" * 400
            self._send(handler, request, step, step.status, page, headers)
            return
        body = data if step.body is None else step.body
        total = len(body) if step.total is None else step.total
        first, last = parse_range(request.range)
        if step.ignore_range or request.range is None:
            headers["Content-Length"] = str(total)
            self._send(handler, request, step, 200, body, headers)
        elif first >= len(body):
            headers["Content-Range"] = f"bytes */{total}"
            self._send(handler, request, step, 416, b"<html>past the end</html>", headers)
        else:
            first = first if step.start is None else step.start
            last = total - 1 if last is None else min(last, total - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
            headers["Content-Length"] = str(last + 1 - first)
            self._send(handler, request, step, 206, body[first : last + 1], headers)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        request: Request,
        step: Step,
        status: int,
        body: bytes,
        headers: dict[str, str | None],
    ) -> None:
        request.status = status
        handler.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
            **step.headers,
        }.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        body = body if step.close_after is None else body[: step.close_after]
        try:
            self._send_body(handler, request, step, body)
        except OSError:
            pass  # the board has had enough

    def _send_body(
        self, handler: BaseHTTPRequestHandler, request: Request, step: Step, body: bytes
    ) -> None:
        at = 0
        while at < len(body):
            end = at + _PIECE
            if step.hold_at is not None and at <= step.hold_at < end:
                end = max(step.hold_at, at)
            piece = body[at:end]
            handler.wfile.write(piece)
            request.sent += len(piece)
            at += len(piece)
            if at == step.hold_at:
                self._released.wait()
                step = GOOD
            if self.rate:
                time.sleep(len(piece) / self.rate)


def parse_range(value: str | None) -> tuple[int, int | None]:
    """(first, last or None) of a Range header of one range."""
    if value is None:
        return 0, None
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", value)
    assert match, f"not a range of bytes: {value!r}"
    return int(match[1]), int(match[2]) if match[2] else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # boards hang up as they like
            super().handle_error(request, client_address)


def _handler(server: BadServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            # Few bytes on their way: what was sent is then about what was received.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            super().setup()

        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
