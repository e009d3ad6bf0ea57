"""Places where a channel's files lie, each as such places answer."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from waiting import wait_until

TOKEN = "Bearer 0a1b2c3d"
_POLICY = "default-src 'none'; " + " ".join(f"https://host{n}.example" for n in range(150))


class Site(ThreadingHTTPServer):
    """Serves a folder with ranges and ETags; `requests` has (path, status) of each request.

    With `page` it answers as a release page does: a token is asked for, two redirects lead to a
    URL of 1,800 characters, header lines have 3,600, and there is no ETag.
    """

    daemon_threads = True

    def __init__(self, folder: Path, page: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.page = page
        self.requests: list[tuple[str, int]] = []
        self.wire: list[int] = []  # bytes of each request and its answer
        self.posted: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Site:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def asked(self, ending: str) -> int:
        """How many requests were for a path that ends so."""
        return sum(path.endswith(ending) for path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.server.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(204)

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if self.server.page and not where.path.startswith("/store/"):
            self._lead(where.path)
            return
        if self.server.page and ("sig" not in parse_qs(where.query) or self._authorized()):
            self._answer(400)  # as an object store says to a URL that is signed, and a token
            return
        file = self.server.folder / where.path.rpartition("/")[2]
        if not file.is_file():
            self._answer(404)
            return
        data = file.read_bytes()
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        fields = {} if self.server.page else {"ETag": etag}
        if not self.server.page and self.headers["If-None-Match"] == etag:
            self._answer(304, fields)
            return
        spans = self.headers["Range"]
        if spans and self.headers.get("If-Range", etag) == etag:
            first = int(spans.removeprefix("bytes=").partition("-")[0])
            fields["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self._answer(206, fields, data[first:])
            return
        self._answer(200, fields, data)

    def _authorized(self) -> bool:
        return self.headers["Authorization"] == TOKEN

    def _lead(self, path: str) -> None:
        name = path.rpartition("/")[2]
        if path.startswith("/hop/"):
            store = self.headers["Host"].replace("127.0.0.1", "localhost")
            self._answer(302, {"Location": f"http://{store}/store/{name}?sig={'s' * 1800}"})
        elif self._authorized():
            self._answer(302, {"Location": f"/hop/{name}?{'q' * 900}"})
        else:
            self._answer(404)  # a private page says no more

    def _answer(
        self, status: int, fields: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        lines = {"Server": "nginx", "Date": email.utils.formatdate(usegmt=True), **(fields or {})}
        if status not in (204, 304):
            lines["Content-Length"] = str(len(body))
        if self.server.page:
            lines["Content-Security-Policy"] = _POLICY
        head = f"HTTP/1.1 {status} {'OK' if status < 300 else 'Other'}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        self.server.requests.append((urlsplit(self.path).path, status))
        asked = len(self.raw_requestline) + len(str(self.headers).encode())
        self.server.wire.append(asked + len(head) + len(body))
        with contextlib.suppress(OSError):
            self.wfile.write(head.encode() + body)


@contextlib.contextmanager
def python_server(folder: Path) -> Iterator[int]:
    """The port of `python -m http.server`, which knows neither ranges nor ETags."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with _ended(process):
        _wait_listening(port)
        yield port


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_listening(port: int) -> None:
    import socket

    def listens() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        time.sleep(0.05)
        return False

    wait_until(listens, "a server that listens")
