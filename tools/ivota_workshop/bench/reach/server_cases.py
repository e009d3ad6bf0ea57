"""Update a board from each real server, with one configuration after another."""

from __future__ import annotations

import contextlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

from ..download.stage import Cloud, update_firmware
from .file_servers import BASIC, BEARER, Servers, running

EXAMPLE = CHECKOUT / "examples" / "thermometer"
LIMIT_S = 120.0
SIZE, LARGE = 130_000, 250_000  # LARGE takes some seconds at the servers' slow rate
# Like a storage service's signature with temporary credentials.
SIGNED = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token=" + "FwoGZXIvYXdzE%2F" * 80


@dataclass(frozen=True)
class Case:
    """`server` and `place` are from file_servers.py; with `restarts` it restarts mid-download."""

    name: str
    server: str
    place: str = "plain"
    size: int = SIZE
    query: str = ""
    restarts: str = ""
    authorization: str = ""  # the field of the push
    asked_before: int = 0  # requests by another client, so that a limit is reached


CASES = (
    Case("nginx", "http"),
    Case("nginx, gzip for all", "http", "gzip"),
    Case("nginx, a limited rate", "http", "slow", LARGE),
    Case("nginx, restarted in mid-download", "http", "slow", LARGE, restarts="nginx"),
    Case("nginx, too many requests", "http", "busy", asked_before=4),
    Case("nginx without ranges", "http", "whole"),
    Case("nginx without an ETag", "http", "no-etag"),
    Case("nginx, a connection for each request", "http", "one-each"),
    Case("nginx, a header line of 3 KB", "http", "policies"),
    Case("nginx, moved to a relative place", "http", "moved"),
    Case("nginx, found at a place of 1,400 characters", "http", "found", query=SIGNED),
    Case("nginx, moved to another server", "http", "elsewhere"),
    Case("nginx, a URL of 1,400 characters", "http", query=SIGNED),
    Case("nginx, a token from the configuration", "http", "token"),
    Case("nginx, a password from the push", "http", "password", authorization=BASIC),
    Case("nginx, a certificate of the board's", "asking"),
    Case("nginx before Apache", "http", "proxied"),
    Case("nginx before Apache, unbuffered", "http", "unbuffered"),
    Case("nginx before Apache that restarts", "http", "proxied-slow", LARGE, restarts="apache"),
    Case("nginx with a cache of slices", "http", "sliced"),
    Case("nginx, TLS with a chain, chosen by name", "https"),
    Case("nginx, TLS, restarted in mid-download", "https", "slow", LARGE, restarts="nginx"),
    Case("Apache", "apache"),
    Case("Apache, deflate for all", "apache", "deflate"),
    Case("Apache, a limited rate", "apache", "slow", LARGE),
    Case("Apache, restarted in mid-download", "apache", "slow", LARGE, restarts="apache"),
    Case("Apache without ranges", "apache", "no-ranges"),
    Case("Apache without an ETag", "apache", "no-etag"),
    Case("Apache, moved with 307", "apache", "moved"),
    Case("Apache, a URL of 1,400 characters", "apache", query=SIGNED),
    Case("Apache, TLS with a chain, chosen by name", "apache_tls"),
    Case("Varnish", "varnish"),
    Case("Varnish, passed on", "varnish", "passed"),
    Case("Varnish, gzip in its cache", "varnish", "gzip"),
    Case("Varnish, a URL of 1,400 characters", "varnish", query=SIGNED),
    Case("Varnish, restarted in mid-download", "varnish", "slow", LARGE, restarts="varnish"),
    Case("Varnish before Apache that restarts", "varnish", "slow", LARGE, restarts="apache"),
)  # fmt: skip


class Stage:
    """One board, a broker and the servers."""

    def __init__(self, servers: Servers, board: Board, cloud: Cloud) -> None:
        self._servers, self._board, self._cloud = servers, board, cloud
        self._number = 0

    def run(self, case: Case) -> str:
        """Return why the board has not updated, or "" if it has and every byte is right."""
        self._number += 1
        version, servers, cloud = f"s{self._number}", self._servers, self._cloud
        path = servers.files / f"{version}.bin"
        pack(EXAMPLE, version, out=path, application="thermometer", pad_to=case.size)
        path.chmod(0o644)
        data = path.read_bytes()
        url = f"{servers.url(case.server, case.place)}/{path.name}{case.query}"
        for _ in range(case.asked_before):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(url).close()
        heard = cloud.heard
        push = update_firmware(version, url, data)
        if case.authorization:
            push["authorization"] = case.authorization
        cloud.want(push)
        try:
            if case.restarts:
                cloud.wait_percent(version, 30, heard)
                servers.restart(case.restarts)
            said = cloud.wait_end(version, heard, LIMIT_S)
        except TimeoutError as error:
            return str(error)
        finally:
            cloud.want(None)
        if said["state"] != "done":
            return f"{said['result_code']}: {said['result_msg']}"
        return "" if self._board.read(f"/firmware/{version}.bin") == data else "wrong bytes"


@contextlib.contextmanager
def _folders(folder: Path) -> Iterator[Path]:
    folder.chmod(0o755)  # Apache serves as a different user
    (folder / "servers").mkdir()
    yield folder


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Provide a stage. Raises ToolchainError if a server is missing and cannot be fetched."""
    deaths: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="ivota-reach-") as name,
        _folders(Path(name)) as folder,
        running(folder / "servers") as servers,
        Broker(folder / "broker", "127.0.0.1", 0, deaths.append) as broker,
        Cloud(broker.port, "reach") as cloud,
    ):
        config = {
            "product_id": "P",
            "device_name": "reach",
            "version": "0",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "http": {
                "timeout_s": 5,
                "deadline_s": 10,
                "ca": "/ca.pem",
                "cert": "/own.pem",
                "key": "/own.key",
                "authorization": {f"127.0.0.1:{servers.ports['http']}": BEARER},
            },
            # No minimum interval between downloads: a real board has a day for what takes minutes
            # here. Varnish compiles for some seconds before it listens again.
            "retry": {"first_s": 0.1, "most_s": 1, "rest_most_s": 1, "job_tries": 60},
        }
        files = {
            "/ca.pem": servers.authority,
            "/own.pem": servers.folder / "board.pem",
            "/own.key": servers.folder / "board.key",
        }
        board = Board(folder / "board", mpy=True, config=config, files=files)
        board.install()
        with board:
            board.power_on()
            cloud.wait_version("0")
            yield Stage(servers, board, cloud)
