"""TLS to broker and firmware server: verified against the configured authority, or refused."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from badserver import BadServer
from certificates import Issued, issue
from wire import Wire

from ivota_tools.cloud.broker import Broker
from ivota_tools.sim import Board
from ivota_tools.toolchain import micropython, mosquitto

# What each server's certificate is, and what the board says of the ones that it refuses.
REFUSED = {
    "other": "not correctly signed by the trusted CA",
    "expired": "validity has expired",
    "name": "does not match with the expected CN",
}
KINDS = ["good", *REFUSED]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Issued]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = issue(folder, "authority", "an authority")
    stranger = issue(folder, "stranger", "another authority")
    return {
        "authority": authority,
        "good": issue(folder, "good", "localhost", authority),
        "other": issue(folder, "other", "localhost", stranger),
        "expired": issue(folder, "expired", "localhost", authority, days_left=-1),
        "name": issue(folder, "name", "elsewhere.example", authority),
    }


class TlsFront:
    """Ends TLS with a certificate and passes the bytes on to a port of this machine."""

    def __init__(self, issued: Issued, target: int, pause_s: float = 0) -> None:
        self._target = target
        self._pause_s = pause_s  # in the middle of the first answer's body
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(issued.pem, issued.key_pem)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.handshakes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with raw, socket.create_connection(("127.0.0.1", self._target)) as plain:
            raw.settimeout(10)
            try:
                secure = self._context.wrap_socket(raw, server_side=True)
            except OSError:
                return
            self.handshakes += 1
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += secure.recv(4096)
            plain.sendall(request)
            try:
                while data := plain.recv(16384):
                    time.sleep(self._pause_s)
                    secure.sendall(data)
                secure.unwrap()
            except OSError:
                return


@pytest.fixture
def front(server: BadServer) -> Iterator[Callable[[Issued], TlsFront]]:
    """Puts TLS before the firmware server."""
    made: list[TlsFront] = []
    port = int(server.url("/").split(":")[2].split("/")[0])

    def make(issued: Issued, pause_s: float = 0) -> TlsFront:
        made.append(TlsFront(issued, port, pause_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("kind", KINDS)
def test_https_is_verified(
    kind: str,
    application: Callable[..., Board],
    certificates: dict[str, Issued],
    server: BadServer,
    front: Callable[[Issued], TlsFront],
    wire: Wire,
    firmware: Callable[..., bytes],
) -> None:
    data = firmware()
    server.add("/f.bin", data)
    tls = front(certificates[kind])
    board = application(
        {"/ca.pem": certificates["authority"].pem}, http={"ca": "/ca.pem"}, retry={"job_tries": 2}
    )
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
    if kind == "good":
        wire.wait_state("done")
        assert board.read("/firmware/0.2.bin") == data
        return
    failure = wire.wait_state("fail").json["report"]["progress"]
    assert failure["result_code"] == "-1"
    assert REFUSED[kind] in failure["result_msg"]
    assert server.asked("/f.bin") == []


def test_https_without_an_authority_is_refused(
    application: Callable[..., Board],
    certificates: dict[str, Issued],
    server: BadServer,
    front: Callable[[Issued], TlsFront],
    wire: Wire,
    firmware: Callable[..., bytes],
) -> None:
    data = firmware()
    server.add("/f.bin", data)
    tls = front(certificates["good"])
    application().power_on()
    wire.wait_version("0.1")
    wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
    failure = wire.wait_state("fail").json["report"]["progress"]
    assert failure["result_code"] == "-5"
    assert "http.ca" in failure["result_msg"]
    assert tls.handshakes == 0


@pytest.fixture
def tls_broker(
    tmp_path: Path, certificates: dict[str, Issued]
) -> Iterator[Callable[[str], tuple[int, int]]]:
    """Starts a mosquitto with a TLS listener; gives its (TLS port, plain port)."""
    running: list[subprocess.Popen[bytes]] = []

    def make(kind: str) -> tuple[int, int]:
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                ports.append(probe.getsockname()[1])
        issued = certificates[kind]
        config = tmp_path / "tls.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"{user}allow_anonymous true\n"
            f"listener {ports[1]} 127.0.0.1\n"
            f"listener {ports[0]} 127.0.0.1\n"
            f"certfile {issued.pem}\nkeyfile {issued.key_pem}\n"
        )
        running.append(
            subprocess.Popen([*mosquitto(), "-c", str(config)], stderr=subprocess.DEVNULL)
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[1]), 1).close()
                return ports[0], ports[1]
            except OSError:
                assert time.monotonic() < until, "mosquitto did not start"
                time.sleep(0.05)

    yield make
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("form", ["pem", "der"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_broker_is_verified(
    kind: str,
    form: str,
    agent: Callable[..., Board],
    broker: Broker,
    name: str,
    certificates: dict[str, Issued],
    tls_broker: Callable[[str], tuple[int, int]],
) -> None:
    authority = certificates["authority"]
    secure_port, plain_port = tls_broker(kind)
    board = agent(
        {"/ca": authority.pem if form == "pem" else authority.der()},
        mqtt={"host": "localhost", "port": secure_port, "tls": True, "ca": "/ca"},
    )
    with Wire(plain_port, name) as wire:
        board.power_on()
        if kind == "good":
            wire.wait_version("0.1")
            return
        board.wait_log(REFUSED[kind])
        assert wire.messages == []


def test_one_tls_session_leaves_the_broker_during_a_download(
    application: Callable[..., Board],
    name: str,
    certificates: dict[str, Issued],
    tls_broker: Callable[[str], tuple[int, int]],
    server: BadServer,
    front: Callable[[Issued], TlsFront],
    firmware: Callable[..., bytes],
) -> None:
    data = firmware()
    server.add("/f.bin", data)
    tls = front(certificates["good"])
    secure_port, plain_port = tls_broker("good")
    board = application(
        {"/ca": certificates["authority"].pem},
        mqtt={"host": "localhost", "port": secure_port, "tls": True, "ca": "/ca"},
        http={"ca": "/ca"},
        one_tls_session=True,
    )
    with Wire(plain_port, name) as wire:
        board.power_on()
        wire.wait_version("0.1")
        wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
        wire.wait_state("done")
        # One connection before the download, one after it; each begins with the version.
        assert [each.json["report"]["version"] for each in wire.of("version")][:2] == ["0.1"] * 2
        assert board.read("/firmware/0.2.bin") == data


# A bare TLS socket with a timeout on the socket below it, as requests and umqtt make it.
_BARE = """
import socket, sys, time, tls
raw = socket.socket()
raw.connect(socket.getaddrinfo("localhost", int(sys.argv[1]))[0][-1])
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_NONE
secure = context.wrap_socket(raw, server_hostname="localhost")
secure.write(b"GET /f.bin HTTP/1.0\\r\\n\\r\\n")
raw.settimeout(0.2)
errors = 0
for _ in range(3):
    try:
        secure.read(1)
        print("read")
    except OSError:
        errors += 1
    time.sleep(1)
print("errors", errors)
"""


def test_a_pause_ends_a_bare_tls_session_and_not_ours(
    application: Callable[..., Board],
    certificates: dict[str, Issued],
    server: BadServer,
    front: Callable[..., TlsFront],
    wire: Wire,
    firmware: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    data = firmware()
    server.add("/f.bin", data)
    tls = front(certificates["good"], 0.6)
    script = tmp_path / "bare.py"
    script.write_text(_BARE)
    bare = subprocess.run(
        [*micropython(32), str(script), str(tls.port)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    # The bytes are there a second later; the error of the first wait sticks to every later one.
    assert bare.stdout.split("\n")[0] == "errors 3"
    board = application({"/ca": certificates["authority"].pem}, http={"ca": "/ca"})
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
    wire.wait_state("done")
    assert board.read("/firmware/0.2.bin") == data
    assert not [line for line in board.log if "retry" in line]
