"""TLS to broker and firmware server: verified against the configured authority, or refused."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import mosquittos
import pytest
from badserver import GOOD, BadServer, Step
from certificates import Issued, issue
from fronts import Tap, TlsFront
from interpreters import PREVIEW
from mosquittos import Mosquitto
from wire import Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim import Board
from ivota_tools.toolchain import boards_micropython

# What each server's certificate is, and what the board says of the ones that it refuses.
REFUSED = {
    "other": "not correctly signed by the trusted CA",
    "expired": "validity has expired",
    "name": "does not match with the expected CN",
}
KINDS = ["good", *REFUSED]
# The preview is built without what reads PEM.
FORMS = [(32, "pem"), (32, "der"), (PREVIEW, "der")]


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


@pytest.fixture
def front(server: BadServer) -> Iterator[Callable[..., TlsFront]]:
    """Puts TLS before the firmware server."""
    with contextlib.ExitStack() as made:

        def make(issued: Issued) -> TlsFront:
            return made.enter_context(TlsFront(issued, server.port))

        yield make


@pytest.mark.parametrize(("interpreter", "form"), FORMS, indirect=["interpreter"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("interpreter")
def test_https_is_verified(
    kind: str,
    form: str,
    application: Callable[..., Board],
    certificates: dict[str, Issued],
    server: BadServer,
    front: Callable[..., TlsFront],
    wire: Wire,
    firmware: Callable[..., bytes],
) -> None:
    data = firmware()
    server.add("/f.bin", data)
    tls = front(certificates[kind])
    authority = certificates["authority"]
    board = application(
        {"/ca": authority.pem if form == "pem" else authority.der()},
        http={"ca": "/ca"},
        retry={"job_tries": 2},
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


@pytest.mark.matrix
def test_https_without_an_authority_is_refused(
    application: Callable[..., Board],
    certificates: dict[str, Issued],
    server: BadServer,
    front: Callable[..., TlsFront],
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
) -> Iterator[Callable[[str], Mosquitto]]:
    """Starts a mosquitto with TLS on the boards' port."""
    with contextlib.ExitStack() as made:

        def make(kind: str) -> Mosquitto:
            issued = certificates[kind]
            settings = f"certfile {issued.pem}", f"keyfile {issued.key_pem}"
            return made.enter_context(
                mosquittos.running(tmp_path, "allow_anonymous true", *settings)
            )

        yield make


@pytest.mark.parametrize(("interpreter", "form"), FORMS, indirect=["interpreter"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("interpreter")
def test_the_broker_is_verified(
    kind: str,
    form: str,
    agent: Callable[..., Board],
    broker: Broker,
    name: str,
    certificates: dict[str, Issued],
    tls_broker: Callable[[str], Mosquitto],
) -> None:
    authority = certificates["authority"]
    mosquitto = tls_broker(kind)
    board = agent(
        {"/ca": authority.pem if form == "pem" else authority.der()},
        mqtt={"host": "localhost", "port": mosquitto.port, "tls": True, "ca": "/ca"},
    )
    with Wire(mosquitto.open_port, name) as wire:
        board.power_on()
        if kind == "good":
            wire.wait_version("0.1")
            return
        board.wait_log(REFUSED[kind])
        assert wire.messages == []


@pytest.mark.matrix
def test_one_tls_session_leaves_the_broker_during_a_download(
    application: Callable[..., Board],
    name: str,
    certificates: dict[str, Issued],
    tls_broker: Callable[[str], Mosquitto],
    server: BadServer,
    front: Callable[..., TlsFront],
    firmware: Callable[..., bytes],
) -> None:
    data = firmware()
    server.add("/f.bin", data, [Step(hold_at=20_000)])
    tls = front(certificates["good"])
    mosquitto = tls_broker("good")
    with Wire(mosquitto.open_port, name) as wire, Tap(mosquitto.port) as tap:
        board = application(
            {"/ca": certificates["authority"].der()},
            mqtt={"host": "localhost", "port": tap.port, "tls": True, "ca": "/ca"},
            http={"ca": "/ca"},
            one_tls_session=True,
        )
        board.power_on()
        wire.wait_version("0.1")
        wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
        server.wait_sent("/f.bin", 20_000)
        tap.wait_closed()
        server.release()
        wire.wait_state("done")
        # One connection before the download, one after it; each begins with the version.
        assert len(tap.said) == 2
        assert [each.json["report"]["version"] for each in wire.of("version")][:2] == ["0.1"] * 2
        assert board.read("/firmware/0.2.bin") == data


# A bare TLS socket with a timeout on the socket below it, as requests and umqtt make it. 1.25 and
# 1.29 do the same with it.
_BARE = """
import select, socket, sys, tls
raw = socket.socket()
raw.connect(socket.getaddrinfo("localhost", int(sys.argv[1]))[0][-1])
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_NONE
secure = context.wrap_socket(raw, server_hostname="localhost")
secure.write(b"GET /f.bin HTTP/1.0\\r\\n\\r\\n")
raw.settimeout(0.2)
there = select.poll()
there.register(raw, select.POLLIN)
errors = 0
for _ in range(3):
    try:
        secure.read(1)
        print("read")
    except OSError:
        errors += 1
    if errors == 1:
        print("waits")
    there.poll(60000)
print("errors", errors)
"""


@pytest.mark.matrix
@pytest.mark.slow
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
    server.add("/f.bin", data, [GOOD, Step(hold_at=20_000)])
    tls = front(certificates["good"])
    script = tmp_path / "bare.py"
    script.write_text(_BARE)
    tls.flowing.clear()
    with subprocess.Popen(
        [*boards_micropython(), str(script), str(tls.port)], stdout=subprocess.PIPE, text=True
    ) as bare:
        assert bare.stdout and bare.stdout.readline() == "waits\n"
        tls.flowing.set()
        # The bytes are there then; the error of the first wait sticks to every later one.
        assert bare.stdout.readline() == "errors 3\n"
    board = application({"/ca": certificates["authority"].der()}, http={"ca": "/ca"})
    board.power_on()
    wire.wait_version("0.1")
    wire.push("0.2", f"https://localhost:{tls.port}/f.bin", data)
    server.wait_sent("/f.bin", 20_000, 2)
    wire.wait_taken(board)  # the board steps on while nothing comes
    server.release()
    wire.wait_state("done")
    assert board.read("/firmware/0.2.bin") == data
    assert not [line for line in board.log if "retry" in line]
