"""A connection to RabbitMQ that acknowledges reports only on request."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ConnectionClosedByClient,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)
from pika.spec import Basic, BasicProperties

from ..cloud_error import CloudError
from ..mqtt.cloud_session import PAYLOAD_MOST, Listener, Message
from ..mqtt.topic_prefix import TopicPrefix
from . import topology
from .address import AmqpAddress
from .route_probe import RouteProbe

log = logging.getLogger("ivota.cloud")
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs each lost connection many times

HEARTBEAT_S = 15  # a node that hangs is noticed after twice as long
PREFETCH = 64  # unacknowledged reports of each queue
WAIT_S = 1.0  # between two checks of the idle connection
RETRY_S, RETRY_MOST_S = 1.0, 30.0
INTERNAL_ERROR = 541  # of AMQP
# RabbitMQ takes a minute to say that it cannot deliver from a queue, which is then created again.
SET_UP_S = 180.0


class _UnreadableQueue(Exception):
    """RabbitMQ ended the connection when it was asked to deliver from a queue."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ReportSession:
    """The counterpart of `MqttSession` for RabbitMQ.

    Every process has a session of its own: RabbitMQ gives each report to one of them, and to
    another one if that process ends before it has acknowledged the report. `on_message` is called
    from the session's thread and must not block. `client_id` is that of a session that the cloud
    had at this broker by MQTT.
    """

    def __init__(
        self,
        broker: AmqpAddress,
        client_id: str,
        on_message: Callable[[Message], None],
        prefix: TopicPrefix = TopicPrefix(),  # noqa: B008 (immutable)
    ) -> None:
        self.listener: Listener | None = None  # unused: it needs MQTT
        self._broker, self._client_id = broker, client_id
        self._on_message, self._prefix = on_message, prefix
        self._process = secrets.token_hex(8)
        self.check = RouteProbe(self._process)
        self._connection = 0
        self._open: pika.BlockingConnection | None = None
        self._orders: deque[Callable[[BlockingChannel], object]] = deque()
        self._woken = False
        self._lock = threading.Lock()  # guards the three above
        self._consuming = threading.Event()
        self._settled = threading.Event()  # consuming for the first time, or refused for good
        self._reached = False  # has been connected, if only to be refused
        self._stopping = threading.Event()
        self._refused: str | None = None
        self._thread = threading.Thread(target=self._run, name="amqp", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the session receives reports."""
        return self._consuming.is_set()

    def start(self, timeout_s: float = 30.0) -> None:
        """Wait until consuming; afterwards reconnect automatically. Raises CloudError.

        `timeout_s` is for the connection. To create and read the queues may take `SET_UP_S` more.
        """
        self._thread.start()
        self._settled.wait(timeout_s)
        if self._reached:
            self._settled.wait(SET_UP_S)
        if not self._consuming.is_set():
            self.stop()
            raise CloudError(f"RabbitMQ at {self._broker} {self._refused or 'does not respond'}")

    def stop(self) -> None:
        """Close the connection; other processes get the unacknowledged reports."""
        self._stopping.set()
        self._order(lambda channel: None)
        if self._thread.is_alive():
            self._thread.join()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """Send to a device. `retain` has no effect: RabbitMQ retains messages of MQTT alone."""
        if not self.connected:
            return  # URLs expire, and devices repeat their reports
        key = topology.routing_key(self._prefix.outward(topic))
        # The MQTT plugin turns persistent messages into QoS 1.
        properties = BasicProperties(delivery_mode=2 if qos else 1)
        self._order(
            lambda channel: channel.basic_publish(topology.TOPICS, key, payload, properties)
        )

    def acknowledge(self, message: Message) -> None:
        # A tag is valid only in its connection; RabbitMQ delivers unacknowledged reports again.
        connection, tag = message.connection, message.mid

        def send(channel: BlockingChannel) -> None:
            if connection == self._connection:
                channel.basic_ack(tag)

        self._order(send)

    def _order(self, order: Callable[[BlockingChannel], object]) -> None:
        """Have the session's thread do something with the channel."""
        with self._lock:
            if self._open is None:
                return
            self._orders.append(order)
            if self._woken:
                return
            self._woken = True
            with contextlib.suppress(AMQPError):  # it has just been closed
                self._open.add_callback_threadsafe(lambda: None)

    def _run(self) -> None:
        wait_s = RETRY_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except (AuthenticationError, ProbableAuthenticationError, ProbableAccessDeniedError):
                self._say("rejected the user name or the password, or the virtual host")
                self._settled.set()
            except ChannelClosedByBroker as error:
                # Something exists with other properties, or the user may not create it.
                self._say(f"rejected the cloud's queues: {error.reply_text}")
                self._settled.set()
            except _UnreadableQueue as error:
                self._say(f"cannot deliver from the queue {error.name}{self._discarded(error)}")
            except (AMQPError, OSError, ValueError) as error:
                self._say(f"cannot be reached ({error!r:.200})")
            finally:
                self._lost()
            if time.monotonic() - began > RETRY_MOST_S:
                wait_s = RETRY_S
            self._stopping.wait(wait_s * random.uniform(0.5, 1))
            wait_s = min(2 * wait_s, RETRY_MOST_S)

    def _say(self, problem: str) -> None:
        if problem != self._refused and not self._stopping.is_set():
            log.error("RabbitMQ at %s %s; retrying", self._broker, problem)
        self._refused = problem

    def _discarded(self, error: _UnreadableQueue) -> str:
        """Delete a queue that was never complete, and return the end of a sentence about it."""
        key = topology.routing_key(self._prefix.outward(self.check.topic))
        try:
            with pika.BlockingConnection(self._parameters()) as connection:
                if topology.discard_unread(connection.channel(), error.name, key):
                    return ", which has never received a report: the cloud will create it again"
        except (AMQPError, OSError, ValueError) as reason:
            return f" ({reason!r:.200})"
        return ": start all nodes of its cluster, because the queue may contain reports"

    def _serve(self) -> None:
        """Receive until the connection ends."""
        connection = pika.BlockingConnection(self._parameters())
        self._reached = True
        try:
            channel = connection.channel()
            topology.declare(channel)
            topology.forget_session(channel, self._client_id)
            cancelled: list[object] = []  # a queue was deleted, or lost its node
            channel.add_on_cancel_callback(cancelled.append)
            confirmed = connection.channel()  # each message waits for RabbitMQ
            confirmed.confirm_delivery()
            channel.basic_qos(prefetch_count=PREFETCH)
            self._connection += 1
            receive = functools.partial(self._received, self._connection)
            for name in topology.queue_names():
                priority = topology.priority(self._process, name)
                try:
                    channel.basic_consume(name, receive, arguments={"x-priority": priority})
                except ConnectionClosedByBroker as error:
                    if error.reply_code != INTERNAL_ERROR:  # such as 320: the node shuts down
                        raise
                    raise _UnreadableQueue(name) from error
            topology.bind(channel, self._prefix)
            with self._lock:
                self._open, self._woken = connection, False
            self._consuming.set()
            self._settled.set()
            self._refused = None
            log.info("connected to RabbitMQ at %s", self._broker)
            while not self._stopping.is_set() and not cancelled:
                connection.process_data_events(WAIT_S)
                self._obey(channel)
                self._probe(confirmed)
        finally:
            _drop(connection)

    def _obey(self, channel: BlockingChannel) -> None:
        with self._lock:
            orders, self._orders = self._orders, deque()
            self._woken = False
        for order in orders:
            order(channel)

    def _probe(self, channel: BlockingChannel) -> None:
        if not self.check.due:
            return
        key = topology.routing_key(self._prefix.outward(self.check.topic))
        try:
            channel.basic_publish(topology.TOPICS, key, self.check.payload, mandatory=True)
        except UnroutableError:
            topology.declare(channel)
            topology.bind(channel, self._prefix)
            self.check.failed()
        else:
            self.check.succeeded()

    def _lost(self) -> None:
        if self._consuming.is_set() and not self._stopping.is_set():
            log.warning("lost the connection to RabbitMQ; reconnecting")
        self._consuming.clear()
        with self._lock:
            self._open = None
            self._orders.clear()

    def _received(
        self,
        connection: int,
        channel: BlockingChannel,
        method: Basic.Deliver,
        _properties: BasicProperties,
        body: bytes,
    ) -> None:
        topic = self._prefix.inward(topology.topic(method.routing_key))
        if self.check.is_probe(topic):
            channel.basic_ack(method.delivery_tag)
            return
        # Always QoS 1: the queue keeps each report until it is stored.
        self._on_message(
            Message(topic, body[:PAYLOAD_MOST], 1, False, method.delivery_tag, connection)
        )

    def _parameters(self) -> list[pika.ConnectionParameters]:
        broker = self._broker
        options = {}
        if broker.user is not None:
            options["credentials"] = pika.PlainCredentials(broker.user, broker.password or "")
        nodes = list(broker.nodes)
        random.shuffle(nodes)
        return [
            pika.ConnectionParameters(
                host,
                port,
                broker.virtual_host,
                heartbeat=HEARTBEAT_S,
                blocked_connection_timeout=4 * HEARTBEAT_S,
                socket_timeout=HEARTBEAT_S,
                stack_timeout=2 * HEARTBEAT_S,
                ssl_options=pika.SSLOptions(ssl.create_default_context(), host)
                if broker.tls
                else None,
                client_properties={"connection_name": f"ivota {self._process}"},
                **options,
            )
            for host, port in nodes
        ]


def _drop(connection: pika.BlockingConnection) -> None:
    """End the connection, so that the next process gets the unacknowledged reports first.

    `close()` cancels the consumers one by one: RabbitMQ would then give later reports of the same
    devices to the next process, before the unacknowledged ones return to their queue.
    """
    with contextlib.suppress(AMQPError, OSError):
        if not connection.is_closed:
            reason = ConnectionClosedByClient(0, "dropped with its unacknowledged reports")
            connection._impl._terminate_stream(reason)  # pika has no public way
        while not connection.is_closed:
            connection.process_data_events(WAIT_S)
