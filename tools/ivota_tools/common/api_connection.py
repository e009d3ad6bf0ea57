"""The connection to a cloud's HTTP API: address, token, errors in words, lists in pages."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from .unix_path import unix_path

DEFAULT_URL = "http://127.0.0.1:8123"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TIMEOUT_S = 30.0  # the event stream sends at least one line every 10 s
MARK = "Ivota-Api"  # a header of every response from a cloud
NOT_A_CLOUD = "the server at {} is not an ivota cloud: check IVOTA_URL"

Json = dict[str, Any]  # the objects are described in /api/v1/openapi.json


class ApiError(RuntimeError):
    """The cloud is unreachable or rejects a request. `status` is the HTTP status, or 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Requests to the cloud at `url`; every method raises ApiError. `Client` has the details."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.url = (url or os.environ.get("IVOTA_URL") or DEFAULT_URL).rstrip("/")
        token = token or os.environ.get("IVOTA_TOKEN")
        local = None if token else _local(self.url)
        if local:
            token = local.token
        if token and not (token.isascii() and token.isprintable()):
            raise ApiError(
                "IVOTA_TOKEN is not a valid token: copy it again from `ivota token create`"
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=("http://localhost" if local else self.url) + "/api/v1/",
                headers=headers,
                timeout=TIMEOUT_S,
                transport=httpx.HTTPTransport(uds=local.socket) if local else None,
            )
        except httpx.InvalidURL as error:
            raise ApiError(f"IVOTA_URL is not a URL: {self.url!r} ({error})") from None
        if self._http.base_url.scheme not in ("http", "https"):
            raise ApiError(f"IVOTA_URL={self.url} must start with http:// or https://")
        if not self._http.base_url.host:
            raise ApiError(f"IVOTA_URL={self.url} has no host: use a URL such as {DEFAULT_URL}")

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _object(self, method: str, path: str, **arguments: Any) -> Json:
        answer: Json = self._ask(method, path, **arguments)
        return answer

    def _list(self, path: str, **params: Any) -> list[Json]:
        answer: list[Json] = self._ask("GET", path, params=params)
        return answer

    def _pages(self, path: str, **params: Any) -> list[Json]:
        """Fetch all pages of a list."""
        return list(self._each(path, **params))

    def _each(self, path: str, after: int = 0, **params: Any) -> Iterator[Json]:
        while page := self._list(path, **params, after=after):
            yield from page
            after = page[-1]["id"]

    def _stream(self, path: str, **params: Any) -> Iterator[Json]:
        """Yield the objects of an event stream until the connection is lost."""
        with self._errors():
            with self._http.stream("GET", path, params=params) as answer:
                self._expect_cloud(answer)
                if answer.status_code != 200:
                    answer.read()
                    raise _refusal(answer)
                try:
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            yield json.loads(line[6:])
                except httpx.HTTPError:
                    raise ApiError(f"lost the connection to the cloud at {self.url}") from None
        raise ApiError(f"the cloud at {self.url} closed the event stream")

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        with self._errors():
            answer = self._http.request(method, path, **arguments)
            self._expect_cloud(answer)
            if not answer.is_success:
                raise _refusal(answer)
            if answer.status_code == 204:
                return None
            try:
                return answer.json()
            except ValueError:
                raise ApiError(NOT_A_CLOUD.format(self.url)) from None

    def _expect_cloud(self, answer: httpx.Response) -> None:
        """Raise ApiError if the response is not from a cloud."""
        if MARK not in answer.headers:
            raise ApiError(NOT_A_CLOUD.format(self.url))

    def _advice(self) -> str:
        """Say where a cloud is running: people who chose another port often forget it here."""
        if port := running_port(default_data()):
            return (
                f"a cloud on this machine uses port {port}: set IVOTA_URL="
                f"{DEFAULT_URL.rpartition(':')[0]}:{port} (https:// if it has a certificate)"
            )
        return "start one with `ivota cloud`, or set IVOTA_URL"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn httpx's errors into sentences."""
        try:
            yield
        except httpx.ConnectError as error:
            if "certificate has expired" in str(error):
                raise ApiError(
                    f"the certificate of {self.url} has expired: renew it on the server, then run "
                    "`systemctl reload ivota` there"
                ) from None
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ApiError(
                    f"the certificate of {self.url} is not trusted ({error}): set SSL_CERT_FILE "
                    "to the file of its CA, or use the host name of the certificate"
                ) from None
            raise ApiError(f"cannot reach a cloud at {self.url}: {self._advice()}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise ApiError(
                f"the connection to the cloud at {self.url} failed ({what}): try again; if this "
                "persists, check that IVOTA_URL has the HTTP port, not the MQTT port"
            ) from None


def default_data() -> Path:
    """Return the default data directory of a cloud."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "ivota"


def local_socket(folder: Path, port: int) -> Path:
    """Return the path of the owner's socket of a cloud with this data directory and HTTP port."""
    return folder / f"api-{port}.sock"


def running_port(folder: Path) -> int | None:
    """Return the HTTP port of the cloud that uses this data directory, or None."""
    for path in sorted(folder.glob("api-*.sock")):
        number = path.stem.removeprefix("api-")
        with socket.socket(socket.AF_UNIX) as link, suppress(OSError):
            link.settimeout(TIMEOUT_S)
            link.connect(unix_path(path))  # a cloud that was killed leaves its file
            if number.isdigit():
                return int(number)
    return None


class _Local(NamedTuple):
    """The owner's access to a cloud on this machine."""

    socket: str
    token: str


def _local(url: str) -> _Local | None:
    """Find a cloud on this machine at `url` with the default data directory, or return None."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.hostname not in LOOPBACK or parts.path:
            return None
        path = local_socket(default_data(), port)
        if not path.is_socket():
            return None
        token = (default_data() / "api.token").read_text().strip()
        return _Local(unix_path(path), token) if token else None
    except (OSError, ValueError):
        return None


def _refusal(answer: httpx.Response) -> ApiError:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"the cloud returned HTTP {answer.status_code} {answer.reason_phrase}"
    return ApiError(str(detail), answer.status_code)
