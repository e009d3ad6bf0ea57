"""A link that never hangs: after each fault the next push is acted on. Real mosquitto, 32 bits."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mosquittos
import paho.mqtt.client as mqtt
import pytest
from badserver import BadServer, Step
from board_support import MakeBoard
from fronts import LateAcks, Refusing, Tap
from mosquittos import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from waiting import WAIT_S, wait_until
from wire import Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.sim import Proxy

KEEPALIVE_S = 2
PINGREQ = 12


def wait_pings(tap: Tap, count: int) -> None:
    """Waits until the board has sent so many: one each half of a keep-alive, and mosquitto drops
    a client after one and a half."""
    before = pings(tap)
    wait_until(lambda: pings(tap) >= before + count, f"{count} pings")


def pings(tap: Tap) -> int:
    return [first >> 4 for first, _ in tap.packets()].count(PINGREQ)


def updates(wire: Wire, server: BadServer, data: bytes, version: str = "0.2") -> None:
    """The next push is acted on: the whole update."""
    server.add(f"/{version}.bin", data)
    wire.push(version, server.url(f"/{version}.bin"), data)
    wire.wait_state("done")


def test_a_broker_that_restarts(
    application: MakeBoard, tmp_path: Path, name: str, server: BadServer, firmware: Callable
) -> None:
    deaths: list[str] = []
    with Broker(tmp_path / "first", "127.0.0.1", 0, deaths.append) as first:
        board = application(port=first.port)
        with Wire(first.port, name) as wire:
            wire.start(board)
    board.wait_log("link_lost")
    with (
        Broker(tmp_path / "second", "127.0.0.1", first.port, deaths.append) as second,
        Wire(second.port, name) as wire,
    ):
        wire.wait_version("0.1")
        updates(wire, server, firmware())


@pytest.mark.slow
def test_a_half_open_link_is_found(
    application: MakeBoard,
    broker: Broker,
    proxy: Callable[[int], Proxy],
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    front = proxy(broker.port)
    board = application(port=front.port, mqtt={"keepalive_s": KEEPALIVE_S})
    wire.start(board)
    heard = len(wire.messages)
    front.cut_now("silence")
    board.wait_log("link_lost.*no answer")
    wire.wait_version("0.1", after=heard)
    updates(wire, server, firmware())


def test_the_link_is_kept_alive_while_nothing_happens(
    agent: MakeBoard, broker: Broker, wire: Wire
) -> None:
    with Tap(broker.port) as tap:
        board = agent(port=tap.port, mqtt={"keepalive_s": KEEPALIVE_S})
        wire.start(board)
        wait_pings(tap, 8)
        assert not [line for line in board.log if "link_lost" in line]
        assert len(tap.said) == 1
        board.stop()


@pytest.mark.slow
def test_the_link_is_kept_alive_during_a_long_download(
    application: MakeBoard,
    proxy: Callable[[int], Proxy],
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    data = firmware()
    url = server.add("/f.bin", data)
    slow = proxy(int(url.split(":")[2].split("/")[0]))
    slow.pace(10_000)
    board = application(mqtt={"keepalive_s": KEEPALIVE_S})
    wire.start(board)
    wire.push("0.2", server.url("/f.bin", slow.port), data)
    wire.wait_state("done")
    assert not [line for line in board.log if "link_lost" in line]


@pytest.mark.slow
def test_a_stalled_download_holds_up_neither_pings_nor_a_push_nor_the_end(
    application: MakeBoard,
    broker: Broker,
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    data = firmware()
    stalled = server.add("/stalled.bin", data, [Step(hold_at=20_000)] * 2)
    with Tap(broker.port) as tap:
        board = application(
            {"/app.json": b'{"downloads": 3, "exit_s": 3}'},
            port=tap.port,
            mqtt={"keepalive_s": KEEPALIVE_S},
            http={"timeout_s": 120, "deadline_s": 120},
        )
        wire.start(board)
        wire.push("0.2", stalled, data)
        server.wait_sent("/stalled.bin", 20_000)
        wait_pings(tap, 4)
        updates(wire, server, firmware(seed=3), "0.3")
        wire.push("0.2", stalled, data)
        board.wait_log("app: ended")
    assert [request.sent for request in server.asked("/stalled.bin")] == [20_000] * 2
    assert not [line for line in board.log if "link_lost" in line or "retry" in line]
    # What came of it is there to be gone on from.
    assert board.read("/firmware/0.2.bin") == data[:20_000]


@pytest.mark.slow
def test_a_link_that_is_down_for_long(
    application: MakeBoard,
    broker: Broker,
    proxy: Callable[[int], Proxy],
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    """Ten minutes in the field; here every wait is a two-hundredth of its default."""
    front = proxy(broker.port)
    board = application(port=front.port, retry={"first_s": 0.05, "most_s": 0.5})
    wire.start(board)
    front.refuse()
    began = time.monotonic()
    front.cut_now("rst")
    wait_until(lambda: len([line for line in board.log if "link_lost" in line]) >= 8, "8 losses")
    # Between them the upper halves, at least, of 0.05, 0.1, 0.2, 0.4 and three times 0.5 s.
    assert time.monotonic() - began >= 1.1, "hammering"
    front.accept()
    wire.wait_version("0.1", after=1)
    updates(wire, server, firmware())


def write_users(path: Path, logins: dict[str, str]) -> None:
    path.write_text("".join(mosquittos.password_line(*login) for login in logins.items()))


@dataclass(frozen=True)
class Guarded:
    """A mosquitto that wants a password on its port for boards."""

    mosquitto: Mosquitto
    users: Path

    def allow(self, logins: dict[str, str]) -> None:
        write_users(self.users, logins)
        self.mosquitto.process.send_signal(signal.SIGHUP)  # it reads the file again


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Guarded]:
    users = tmp_path / "users"
    users.touch(mode=0o600)
    write_users(users, {"board": "right"})
    settings = "allow_anonymous false", f"password_file {users}"
    with mosquittos.running(tmp_path, *settings) as running:
        yield Guarded(running, users)


def test_a_wrong_password_is_said_and_tried_again(
    application: MakeBoard,
    guarded_broker: Guarded,
    name: str,
    server: BadServer,
    firmware: Callable,
) -> None:
    board = application(
        port=guarded_broker.mosquitto.port, mqtt={"user": "board", "password": "s3cret-other"}
    )
    with Wire(guarded_broker.mosquitto.open_port, name) as wire:
        board.power_on()
        # MQTT 3.1.1: 4 is a bad user name or password, 5 not authorised.
        board.wait_log("link_lost.*MQTTException.*[45]")
        board.wait_log("link_lost", start=len(board.log))
        assert "s3cret" not in "\n".join(board.log)
        guarded_broker.allow({"board": "s3cret-other"})
        wire.wait_version("0.1")
        updates(wire, server, firmware())


def test_the_right_password_gets_in(agent: MakeBoard, guarded_broker: Guarded) -> None:
    port = guarded_broker.mosquitto.port
    board = agent(port=port, mqtt={"user": "board", "password": "right"})
    board.power_on()
    board.wait_log("ivota: connected")


def test_a_refused_connection_is_tried_again(
    application: MakeBoard, broker: Broker, wire: Wire, server: BadServer, firmware: Callable
) -> None:
    with Refusing(broker.port, bytes((1, 2, 3, 5))) as front:
        board = application(port=front.port)
        wire.start(board)
        assert len([line for line in board.log if "link_lost" in line]) == 4
        updates(wire, server, firmware())


def test_a_takeover_by_the_same_client_id(
    application: MakeBoard,
    broker: Broker,
    name: str,
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    board = application()
    wire.start(board)
    for _ in range(3):
        heard, lines = len(wire.messages), len(board.log)
        thief = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="P" + name, reconnect_on_failure=False
        )
        thief.connect("127.0.0.1", broker.port)
        thief.loop_start()
        board.wait_log("link_lost", start=lines)
        wire.wait_version("0.1", after=heard)
        end(thief)
    updates(wire, server, firmware())


@pytest.mark.parametrize("size", [4097, 60_000])
def test_an_oversized_message_is_skipped(
    size: int, application: MakeBoard, wire: Wire, server: BadServer, firmware: Callable
) -> None:
    board = application()
    wire.start(board)
    for qos in (0, 1):
        wire.send(b"x" * size, qos)
    updates(wire, server, firmware())
    assert not [line for line in board.log if "link_lost" in line]


def test_retained_junk_is_ignored(
    application: MakeBoard,
    broker: Broker,
    name: str,
    wire: Wire,
    server: BadServer,
    firmware: Callable,
) -> None:
    for junk in (b"\x00\xff{{{", b'{"type": 7}', b"[]", b"1e999", b'"' * 3000):
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.publish(f"$ota/update/P/{name}", junk, 1, retain=True).wait_for_publish(WAIT_S)
        end(client)
        board = application()
        wire.start(board)
        board.stop()
    wire.start(board)
    updates(wire, server, firmware())


@pytest.mark.parametrize("qos", [0, 1])
def test_a_thousand_messages_in_a_burst(
    qos: int, application: MakeBoard, wire: Wire, server: BadServer, firmware: Callable
) -> None:
    board = application()
    wire.start(board)
    for i in range(1000):
        wire.send({"type": "noise", "number": i}, qos)
    updates(wire, server, firmware())


def test_late_acknowledgements_delay_nothing_and_keep_step(
    application: MakeBoard, broker: Broker, wire: Wire, server: BadServer, firmware: Callable
) -> None:
    with LateAcks(broker.port) as front:
        board = application(port=front.port)
        wire.start(board)
        # The push is acted on while the version's own acknowledgement is still out.
        data = firmware()
        server.add("/f.bin", data)
        wire.push("0.2", server.url("/f.bin"), data)
        server.wait_sent("/f.bin", len(data))
        board.wait_log("handed_over")
        assert front.held == 1 and wire.of("burning") == []
        front.pass_on(late_s=1.5)
        wire.wait_state("done")
        assert not [line for line in board.log if "link_lost" in line]


@pytest.mark.slow
def test_without_acknowledgements_reports_are_sent_again(
    application: MakeBoard, broker: Broker, wire: Wire, server: BadServer, firmware: Callable
) -> None:
    with LateAcks(broker.port) as front:
        board = application(port=front.port, mqtt={"keepalive_s": 2})
        wire.start(board)
        board.wait_log("link_lost.*no answer")
        wire.wait_version("0.1", after=1)
        front.pass_on(late_s=0)
        updates(wire, server, firmware())


def test_reconnecting_costs_neither_heap_nor_sockets(
    broker: Broker, name: str, tmp_path: Path, proxy: Callable[[int], Proxy]
) -> None:
    from ivota_workshop.bench.reconnects import run

    found = run(tmp_path, broker.port, name, rounds=60)
    assert found["reconnects"] == 60
    assert found["heap_growth_bytes"] <= 0
    assert found["open_sockets_growth"] == 0


def test_secrets_stay_out_of_the_log(agent: MakeBoard, wire: Wire) -> None:
    board = agent(device_secret="c2VjcmV0LXNlY3JldA==")
    wire.start(board)
    assert not re.search("c2VjcmV0|secret", "\n".join(board.log))
