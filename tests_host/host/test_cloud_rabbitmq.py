"""RabbitMQ as the fleet's broker: HAProxy, three nodes, several processes that take reports."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import paho.mqtt.client as mqtt
import pika
import postgres_support
import pytest
from cloud_support import Device
from paho.mqtt.enums import CallbackAPIVersion
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import select
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud, CloudError, ProcessKind
from ivota_tools.cloud.amqp import topology
from ivota_tools.cloud.amqp.address import AmqpAddress, read_address
from ivota_tools.cloud.amqp.report_session import ReportSession
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.topic_prefix import TopicPrefix
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Report
from ivota_tools.common.mqtt_disconnect import end
from ivota_tools.toolchain.load_balancer import haproxy
from ivota_workshop.bench.holds.devices import self_signed
from ivota_workshop.load_balancer import CONFIGURATION, balanced
from ivota_workshop.rabbitmq_cluster import HOST, PASSWORD, USER, Cluster, Node, cluster

DEVICES = 60


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("rabbitmq"), 3) as made:
        yield made


def address(nodes: list[Node]) -> str:
    hosts = ",".join(f"{HOST}:{node.amqp_port}" for node in nodes)
    return f"amqp://{USER}@{hosts}"


class Sender:
    """Devices that report numbers by MQTT, on three connections through HAProxy."""

    def __init__(self, port: int) -> None:
        self._clients = [
            mqtt.Client(CallbackAPIVersion.VERSION2, clean_session=True) for _ in range(3)
        ]
        for client in self._clients:
            client.username_pw_set(USER, PASSWORD)
            client.reconnect_delay_set(1, 1)
            client.connect(HOST, port)
            client.loop_start()
        self._sent: list[mqtt.MQTTMessageInfo] = []

    def send(self, numbers: range, text: str = "{}") -> None:
        for number in numbers:
            device = number % DEVICES
            client = self._clients[device % len(self._clients)]
            payload = text.replace("{}", str(number))
            self._sent.append(client.publish(f"$ota/report/P/d{device}", payload, 1))

    def acknowledged(self) -> None:
        for each in self._sent:
            each.wait_for_publish(WAIT_S)
            assert each.is_published()

    def end(self) -> None:
        for client in self._clients:
            end(client)


class Processes:
    """Sessions as those of several processes, and what each of them got."""

    def __init__(self, nodes: list[Node], count: int) -> None:
        self.got: dict[str, list[int]] = defaultdict(list)
        self.counts = [0] * count
        self.deaf: set[int] = set()  # these store and acknowledge nothing more
        self._lock = threading.Lock()
        where = AmqpAddress.read(address(nodes)).with_password(PASSWORD)
        self.sessions: list[ReportSession] = []
        for number in range(count):
            self.sessions.append(ReportSession(where, "ivota-test", self._receiver(number)))
        for session in self.sessions:
            session.start(WAIT_S)

    def _receiver(self, number: int):  # type: ignore[no-untyped-def]
        def received(message: Message) -> None:
            if number in self.deaf:
                return
            with self._lock:
                self.got[message.topic].append(int(message.payload))
                self.counts[number] += 1
            self.sessions[number].acknowledge(message)

        return received

    def all_there(self, count: int) -> bool:
        with self._lock:
            return sum(len(set(numbers)) for numbers in self.got.values()) == count

    def end(self) -> None:
        for session in self.sessions:
            session.stop()


@pytest.mark.slow
def test_processes_share_the_reports_and_lose_none(rabbit: Cluster, tmp_path: Path) -> None:
    """A process ends with reports that it has not stored; then a node dies with its devices."""
    victim = rabbit.nodes[-1]
    ports = [node.mqtt_port for node in rabbit.nodes]
    with balanced(tmp_path, ports) as (port, _):
        share_the_reports(rabbit, victim, port)


def share_the_reports(rabbit: Cluster, victim: Node, port: int) -> None:
    sender, processes = Sender(port), Processes(rabbit.nodes, 3)
    try:
        sender.send(range(600))
        wait_until(lambda: processes.all_there(600), "the first reports")
        assert all(processes.counts), processes.counts
        processes.deaf.add(0)
        sender.send(range(600, 1200))
        sender.acknowledged()
        processes.sessions[0].stop()
        wait_until(lambda: processes.all_there(1200), "what the first process had not stored")
        sender.send(range(1200, 1500))
        rabbit.kill(victim)
        sender.send(range(1500, 1800))
        sender.acknowledged()
        wait_until(lambda: processes.all_there(1800), "all reports")
        # A report may come twice, but those of a device never overtake each other.
        for numbers in processes.got.values():
            first = list(dict.fromkeys(numbers))
            assert first == sorted(first)
    finally:
        processes.end()
        sender.end()
        rabbit.boot(victim)
        rabbit.wait(victim)


class Process:
    """`ivota intake` or `ivota console` in a process of its own."""

    def __init__(self, kind: str, folder: Path, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "ivota_tools", kind, "--json", "--port", str(port)]
        command += ["--data", str(folder), *options]
        environment = {**os.environ, "IVOTA_BROKER_PASSWORD": PASSWORD}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    @functools.cached_property
    def url(self) -> str:
        """Where it listens, once it has started."""
        assert self._process.stdout
        return str(json.loads(self._process.stdout.readline())["api_url"])

    def figure(self, name: str) -> float:
        """Return the sum of a metric."""
        text = httpx.get(f"{self.url}/metrics", timeout=WAIT_S).text
        return sum(float(found) for found in re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.M))

    def end(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)
        self._process.wait(WAIT_S)
        assert self._process.stdout
        self._process.stdout.close()


@pytest.mark.slow
def test_intakes_share_the_reports_and_the_leader_is_killed(
    rabbit: Cluster, tmp_path: Path
) -> None:
    """`ivota intake` several times beside `ivota console`, which leaves pushes to the leader."""
    node, url = rabbit.nodes[0], postgres_support.new_database()
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    options = ("--broker", address(rabbit.nodes), "--mqtt-port", "1883", "--database", url)
    options += ("--public-url", f"http://{HOST}:{port}")
    with ExitStack() as stack:
        processes = [Process("console", tmp_path / "data", port, *options)]
        stack.callback(lambda: [each.end() for each in processes])
        processes += [Process("intake", tmp_path / "data", 0, *options) for _ in range(3)]
        console, *intakes = processes
        sender = Sender(node.mqtt_port)
        stack.callback(sender.end)
        database = Database(url)
        stack.callback(database.close)
        api = stack.enter_context(Client(console.url))
        kitchen = stack.enter_context(device(node, "kitchen"))
        report = '{"type": "report_version", "report": {"version": "1.{}"}}'

        def stored() -> dict[int | None, list[int]]:
            found: dict[int | None, list[int]] = defaultdict(list)
            with database.reading() as session:
                rows = select(Report.device_id, Report.version).order_by(Report.id)
                for number, version in session.execute(rows.where(Report.version.like("1.%"))):
                    found[number].append(int(version[2:]))
            return found

        def count() -> int:
            return sum(len(set(numbers)) for numbers in stored().values())

        def update(version: str) -> None:
            api.upload(tmp_path / "f.bin", version)
            api.push("P/kitchen", version)
            push = kitchen.expect("update_firmware")
            assert kitchen.update(push) == b"x" * 1000
            kitchen.hello(version)
            wait_until(lambda: api.device("P/kitchen")["state"] == "done", "the update's end")

        assert all(each.url for each in intakes)  # started: RabbitMQ has their queues
        kitchen.hello("0.1")
        wait_until(lambda: api.devices(), "the first report")
        update("0.2")
        sender.send(range(600), report)
        wait_until(lambda: count() == 600, "the first reports")
        assert all(each.figure("ivota_reports_total") > 20 for each in intakes)
        (leader,) = (each for each in intakes if each.figure("ivota_leader"))
        assert console.figure("ivota_leader") == 0 and console.figure("ivota_standby") == 1
        for path, status in (("/readyz", 200), ("/api/v1/devices", 404), ("/", 404)):
            assert httpx.get(intakes[0].url + path).status_code == status
        sender.send(range(600, 1200), report)
        leader.end(signal.SIGKILL)
        processes.remove(leader)
        intakes.remove(leader)
        sender.send(range(1200, 1500), report)
        sender.acknowledged()
        wait_until(lambda: count() == 1500, "what the leader had not stored")
        for numbers in stored().values():
            first = list(dict.fromkeys(numbers))
            assert first == sorted(first)
        wait_until(lambda: any(each.figure("ivota_leader") for each in intakes), "a leader")
        update("0.3")


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (ProcessKind.INTAKE, {}, "intake needs --database"),
        (ProcessKind.INTAKE, {"database": "postgresql://h/d", "broker": "h"}, "--broker amqp://"),
        (ProcessKind.CONSOLE, {"database": "postgresql://h/d"}, "console needs the same --broker"),
        (
            ProcessKind.INTAKE,
            {"database": "postgresql://h/d", "broker": "amqp://h"},
            "intake needs --public-url",
        ),
    ],
)
def test_a_part_of_the_cloud_lacks_a_setting(
    tmp_path: Path, kind: ProcessKind, options: dict[str, str], says: str
) -> None:
    with pytest.raises(CloudError, match=says):
        Cloud(tmp_path, process=kind, **options)


@pytest.mark.slow
def test_a_cloud_moves_from_mqtt_to_amqp(rabbit: Cluster, tmp_path: Path) -> None:
    node = rabbit.nodes[0]
    (tmp_path / "f.bin").write_bytes(b"x" * 1000)
    by_mqtt = f"{USER}@{HOST}:{node.mqtt_port}"
    with (
        Cloud(tmp_path / "data", broker=by_mqtt, broker_password=PASSWORD) as cloud,
        Client(cloud.api_url) as api,
        device(node, "ki.tchen") as kitchen,
    ):
        api.add_devices([{"device": "P/ki.tchen"}])  # RabbitMQ makes a slash of the dot
        kitchen.hello("0.1")
        assert cloud._worker
        client_id = cloud._worker.client_id
    left = f"mqtt-subscription-{client_id}qos1"
    assert exists(node, left)
    by_amqp = address(rabbit.nodes)
    with (
        Cloud(
            tmp_path / "data", broker=by_amqp, broker_password=PASSWORD, mqtt_port=1883
        ) as cloud,
        Client(cloud.api_url) as api,
        device(node, "ki.tchen") as kitchen,
    ):
        assert not exists(node, left)
        kitchen.hello("0.1")
        assert [each["device_name"] for each in api.devices()] == ["ki.tchen"]
        api.upload(tmp_path / "f.bin", "0.2")
        api.push("P/ki.tchen", "0.2")
        push = kitchen.expect("update_firmware")
        assert kitchen.raw[-1].qos == 1
        assert kitchen.update(push) == b"x" * 1000
        kitchen.hello("0.2")
        wait_until(lambda: api.device("P/ki.tchen")["state"] == "done", "the end of the update")
        assert cloud.mqtt_port == 1883 and api.health()["ok"]
        # Somebody removes the route: the cloud notices, and creates it again.
        with pika.BlockingConnection(parameters(node)) as connection:
            connection.channel().exchange_unbind(
                topology.EXCHANGE, topology.TOPICS, "$ota.report.#"
            )
        assert cloud._worker and cloud._worker.session
        cloud._worker.session.check._next = 0.0  # type: ignore[attr-defined]
        wait_until(lambda: "no route" in str(api.health()["problem"]), "the problem")
        kitchen.hello("0.2")


def count(channel: BlockingChannel, queue: str) -> int:
    number: int = channel.queue_declare(queue, passive=True).method.message_count
    return number


def device(node: Node, name: str) -> Device:
    return Device(node.mqtt_port, "P", name, user=(USER, PASSWORD))


def parameters(node: Node) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        HOST, node.amqp_port, credentials=pika.PlainCredentials(USER, PASSWORD)
    )


def exists(node: Node, queue: str) -> bool:
    with pika.BlockingConnection(parameters(node)) as connection:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
    return True


@pytest.mark.slow
def test_a_session_survives_the_loss_of_its_queues(rabbit: Cluster) -> None:
    processes, sender = Processes(rabbit.nodes, 1), Sender(rabbit.nodes[0].mqtt_port)
    try:
        with pika.BlockingConnection(parameters(rabbit.nodes[0])) as connection:
            for name in topology.queue_names():
                connection.channel().queue_delete(name)
        (session,) = processes.sessions
        wait_until(lambda: not session.connected, "the session to notice")
        wait_until(lambda: session.connected, "the session to return")
        sender.send(range(DEVICES))
        wait_until(lambda: processes.all_there(DEVICES), "the reports")
    finally:
        processes.end()
        sender.end()


@pytest.mark.slow
def test_only_a_queue_without_a_route_is_deleted(rabbit: Cluster) -> None:
    """RabbitMQ takes a minute to say that it cannot deliver from a queue: this is what follows."""
    name, key = topology.queue_names()[7], "$ota.report.ivota.check.x"
    with pika.BlockingConnection(parameters(rabbit.nodes[0])) as connection:
        channel = connection.channel()
        channel.exchange_delete(topology.EXCHANGE)
        topology.declare(channel)
        assert topology.discard_unread(channel, name, key)
        assert not exists(rabbit.nodes[0], name)
        topology.declare(channel)
        topology.bind(channel, TopicPrefix())
        assert not topology.discard_unread(connection.channel(), name, key)
        # Somebody deletes the exchange: the route is gone, and a report is still there.
        confirmed = connection.channel()
        confirmed.confirm_delivery()
        confirmed.basic_publish("", name, b"a report")
        channel.exchange_delete(topology.EXCHANGE)
        topology.declare(channel)
        wait_until(lambda: count(channel, name) == 1, "the number of messages")
        assert not topology.discard_unread(connection.channel(), name, key)
        assert exists(rabbit.nodes[0], name)
        channel.queue_purge(name)


@pytest.mark.slow
def test_what_rabbitmq_refuses_is_said_at_the_start(rabbit: Cluster) -> None:
    where = AmqpAddress.read(address(rabbit.nodes))
    for wrong, says in (
        (where.with_password("wrong"), "rejected the user name or the password"),
        (
            replace(where.with_password(PASSWORD), virtual_host="none"),
            "rejected the user name or the password, or the virtual host",
        ),
    ):
        with pytest.raises(CloudError, match=says):
            ReportSession(wrong, "ivota-test", lambda message: None).start(WAIT_S)


@pytest.mark.slow
def test_devices_sign_in_with_their_secrets(tmp_path: Path) -> None:
    """RabbitMQ asks the cloud; the cloud itself signs in with a user of RabbitMQ's own."""
    (tmp_path / "rabbitmq").mkdir()
    with cluster(tmp_path / "rabbitmq", 1) as rabbit:
        (node,) = rabbit.nodes
        options = {"broker": address([node]), "broker_password": PASSWORD, "sign_in": True}
        with Cloud(tmp_path / "data", **options) as cloud, Client(cloud.api_url) as api:
            made = api.add_devices([{"device": "P/d"}, {"device": "P/e"}])
            secret, other = (each["board"]["device_secret"] for each in made)
            settings = tmp_path / "data" / "rabbitmq-sign-in.conf"
            assert settings.stat().st_mode & 0o777 == 0o600
            rabbit.shut_down(node)
            with (node.folder / "rabbitmq.conf").open("a") as file:
                file.write(settings.read_text())
            rabbit.boot(node)
            rabbit.wait(node)
            wait_until(lambda: api.health()["mqtt_connected"], "the cloud's connection")
            with signed_in(node, "Pd", secret) as device:
                device.hello("0.1")
                # To the topic of another device: RabbitMQ closes the connection.
                device.publish(b"{}", qos=0, topic="$ota/report/P/e")
                wait_until(lambda: not device.connected, "the end of the connection")
            with signed_in(node, "Pd", secret) as device:
                # Larger than any report: so does the built-in broker.
                device.publish(b"x" * 70_000, qos=0)
                wait_until(lambda: not device.connected, "the end of the connection")
            leave_will(node, "Pd", secret, "$ota/report/P/e")
            for topic in ("$ota/update/P/e", "$ota/update/#", "$ota/report/P/d", "#"):
                assert granted(node, "Pd", secret, topic) == [128]
            assert granted(node, "Pd", secret, "$ota/update/P/d") == [1]
            for user, password, client_id in (
                (*signature("Pd", other), "Pd"),
                (*signature("Pd", secret), "Pe"),
                (signature("Pe", secret)[0], "", "Pe"),
                ("console", "console", "Pd"),
            ):
                with pytest.raises(AssertionError, match="Bad user name or password"):
                    granted(node, client_id, "", "x", (user, password))
            api.retire_device(api.device("P/d")["id"])
            with pytest.raises(AssertionError, match="Bad user name or password"):
                granted(node, "Pd", secret, "$ota/update/P/d")
            # Neither the report nor the will in its name arrived.
            assert api.device("P/e")["last_seen"] is None
            # Without the key of the path, nobody can ask.
            for key in ("", "x", "0" * 40):
                url = f"{cloud.api_url}/rabbitmq/{key}/user"
                assert httpx.post(url, data={"username": "Pd"}).status_code in (404, 405)


def signature(client_id: str, secret: str) -> tuple[str, str]:
    """Return the user name and password of a device, as docs/protocol.md describes them."""
    user = f"{client_id};12010126;Ab3dE;2147483647"
    digest = hmac.new(base64.b64decode(secret), user.encode(), hashlib.sha256).hexdigest()
    return user, f"{digest};hmacsha256"


def signed_in(node: Node, client_id: str, secret: str) -> Device:
    user = signature(client_id, secret)
    return Device(node.mqtt_port, "P", client_id[1:], user=user, client_id=client_id)


def leave_will(node: Node, client_id: str, secret: str, topic: str) -> None:
    """Sign in with a will, and end the connection without a goodbye."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, reconnect_on_failure=False)
    client.username_pw_set(*signature(client_id, secret))
    client.will_set(topic, b'{"type":"report_version","report":{"version":"6"}}', 1)
    settled = threading.Event()
    client.on_connect = client.on_disconnect = lambda *_: settled.set()
    client.connect(HOST, node.mqtt_port)
    client.loop_start()
    assert settled.wait(WAIT_S)
    if link := client.socket():
        link.shutdown(socket.SHUT_RDWR)
    client.loop_stop()


def granted(
    node: Node, client_id: str, secret: str, topic: str, user: tuple[str, str] | None = None
) -> list[int]:
    """Sign in and subscribe; return the codes. Raises AssertionError with RabbitMQ's reason."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, reconnect_on_failure=False)
    client.username_pw_set(*(user or signature(client_id, secret)))
    said: queue.Queue[object] = queue.Queue()
    client.on_connect = lambda _c, _d, _f, reason, _p: said.put(reason)
    client.on_subscribe = lambda _c, _d, _m, reasons, _p: said.put(
        [each.value for each in reasons]
    )
    client.connect(HOST, node.mqtt_port)
    client.loop_start()
    try:
        reason = said.get(timeout=WAIT_S)
        assert reason == "Success", str(reason)
        client.subscribe(topic, 1)
        codes = said.get(timeout=WAIT_S)
        assert isinstance(codes, list)
        return codes
    finally:
        end(client)


@pytest.mark.slow
def test_a_flood_waits_at_haproxy(rabbit: Cluster, tmp_path: Path) -> None:
    """The reports of others arrive before even half of a flood of 4 MB does."""
    topic = b"$ota/report/FLOOD/d"
    report = (b"\0%c" % len(topic)) + topic + bytes(1000)
    publish = b"\x30" + bytes([len(report) & 127 | 128, len(report) >> 7]) + report
    with (
        balanced(tmp_path, [node.mqtt_port for node in rabbit.nodes]) as (port, _),
        pika.BlockingConnection(parameters(rabbit.nodes[0])) as connection,
        connected(port) as link,
    ):
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, topology.TOPICS, topology.routing_key(topic.decode()))
        flood = threading.Thread(target=send_until_closed, args=(link, publish * 4000))
        flood.start()
        sender = Sender(port)
        try:
            sender.send(range(60))
            sender.acknowledged()
            arrived = count(channel, queue)
        finally:
            link.shutdown(socket.SHUT_RDWR)
            flood.join()
            sender.end()
        assert 0 < arrived < 2000


@pytest.mark.slow
def test_a_connection_without_a_sign_in_is_closed(rabbit: Cluster, tmp_path: Path) -> None:
    """By the node, and through HAProxy."""
    node = rabbit.nodes[0]
    with balanced(tmp_path, [node.mqtt_port]) as (port, _):
        for link in [socket.create_connection((HOST, each)) for each in (node.mqtt_port, port)]:
            with link:
                link.settimeout(WAIT_S)
                assert link.recv(1) == b""


@pytest.mark.slow
def test_a_full_queue_acknowledges_no_report_that_it_does_not_keep(rabbit: Cluster) -> None:
    """A device keeps its reports, and they arrive once there is room."""
    node, name, reports = rabbit.nodes[0], "full", range(20)
    topic = "$ota/report/FULL/d"
    limit = {**topology.ARGUMENTS, "x-max-length-bytes": 50_000}
    limit["x-single-active-consumer"] = False  # or basic_get is refused
    got: set[int] = set()

    def all_arrived() -> bool:
        while (message := channel.basic_get(name, auto_ack=True))[0]:
            got.add(int(message[2]))
        return got == set(reports)

    with pika.BlockingConnection(parameters(node)) as connection, ExitStack() as ends:
        channel = connection.channel()
        channel.exchange_declare(name, "x-consistent-hash")
        ends.callback(channel.exchange_delete, name)
        channel.queue_declare(name, durable=True, arguments=limit)
        ends.callback(channel.queue_delete, name)
        channel.queue_bind(name, name, routing_key="1")
        channel.exchange_bind(name, topology.TOPICS, topology.routing_key(topic))
        filling = connection.channel()
        filling.confirm_delivery()
        with pytest.raises(pika.exceptions.NackError):
            for _ in range(1000):
                filling.basic_publish(name, topology.routing_key(topic), bytes(5000))
        client = mqtt.Client(CallbackAPIVersion.VERSION2, "full", clean_session=False)
        ends.callback(end, client)
        client.username_pw_set(USER, PASSWORD)
        client.max_inflight_messages_set(2 * len(reports))
        client.connect(HOST, node.mqtt_port)
        client.loop_start()
        sent = [client.publish(topic, str(each), 1) for each in reports]
        # No queue takes this report, so only the reports before it wait for a queue.
        other = client.publish("$ota/report/NONE/d", b"", 1)
        wait_until(other.is_published, "the answer to another report")
        assert not any(each.is_published() for each in sent)
        channel.queue_purge(name)
        client.reconnect()  # then a device sends again what was not acknowledged
        wait_until(all_arrived, "the reports")
        wait_until(lambda: all(each.is_published() for each in sent), "the last answers")


def connected(port: int) -> socket.socket:
    """Connect as a device, without a library that would wait for anything."""
    words = b"".join(
        b"\0%c%s" % (len(word), word) for word in map(str.encode, ("f", USER, PASSWORD))
    )
    body = b"\0\4MQTT\4\xc2\0\x3c" + words
    link = socket.create_connection((HOST, port), timeout=WAIT_S)
    link.sendall(b"\x10%c" % len(body) + body)
    assert link.recv(4) == b"\x20\2\0\0"
    return link


def send_until_closed(link: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        link.sendall(data)


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    chain, key = self_signed(tmp_path)
    (tmp_path / "both.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    text = CONFIGURATION.read_text()
    assert "/etc/haproxy/certificate.pem" in text
    (tmp_path / "haproxy.cfg").write_text(
        text.replace("/etc/haproxy/certificate.pem", str(tmp_path / "both.pem"))
    )
    command = [*haproxy(), "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True)
    # The names of its nodes exist nowhere, which must not keep it from starting.
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr and "[ALERT]" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("amqp://h", AmqpAddress((("h", 5672),))),
        (
            "amqps://u:p%40@h:1,[::1]/v%2F",
            AmqpAddress((("h", 1), ("::1", 5671)), "u", "p@", "v/", True),
        ),
        ("amqp://h:0", "'h:0' is not a valid RabbitMQ address"),
        ("amqp://a,,b", "'' is not a valid RabbitMQ address"),
        ("amqp://", "'' is not a valid RabbitMQ address"),
    ],
)
def test_addresses(text: str, found: AmqpAddress | str) -> None:
    if isinstance(found, AmqpAddress):
        assert read_address(text, None) == found
    else:
        with pytest.raises(CloudError, match=found):
            read_address(text, None)


def test_processes_claim_queues_evenly_and_independently() -> None:
    names = topology.queue_names()
    shares = [0] * 4
    for fleet in range(200):
        processes = [f"{fleet}-{number}" for number in range(4)]
        for name in names:
            claims = [topology.priority(process, name) for process in processes]
            assert 0 <= min(claims) and max(claims) < topology.PRIORITIES
            shares[claims.index(max(claims))] += 1
    mean = 200 * len(names) / 4
    assert all(0.9 * mean < share < 1.1 * mean for share in shares), shares
