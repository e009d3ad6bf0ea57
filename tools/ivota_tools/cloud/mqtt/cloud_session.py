"""A persistent MQTT session that acknowledges reports only on request."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ...common.mqtt_disconnect import end
from ..cloud_error import CloudError
from .delivery_probe import BrokerProbe
from .messages import REPORT_FILTER
from .topic_prefix import TopicPrefix

log = logging.getLogger("ivota.cloud")

KEEPALIVE_S = 15  # a broker that hangs is noticed after twice as long
PAYLOAD_MOST = 65536  # bytes; an external broker may allow more


class Message(NamedTuple):
    """A received message. `connection` identifies the connection to which `mid` belongs."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    mid: int
    connection: int


@dataclass(frozen=True)
class Address:
    """A broker's address and credentials. `tls`: verified with the machine's certificates.

    `path`: a Unix socket to use instead of host and port.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: bool = False
    path: str | None = None

    @staticmethod
    def read(text: str) -> Address:
        """Parse `[mqtt[s]://][USER[:PASSWORD]@]HOST[:PORT]`. Raises CloudError.

        In USER and PASSWORD %40 stands for @, %3A for a colon, and so on.
        """
        scheme, found, rest = text.partition("://")
        signed, _, where = (rest if found else text).rpartition("@")
        host, colon, port = where.rpartition(":")
        tls = scheme == "mqtts" and bool(found)
        if not colon or where.endswith("]"):
            host, port = where, "8883" if tls else "1883"
        if found and scheme not in ("mqtt", "mqtts"):
            raise CloudError(
                f"{scheme}:// is not the URL of an MQTT broker: use mqtt:// or mqtts://"
            )
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise CloudError(f"{where!r} is not a valid MQTT broker address: use HOST:PORT")
        user, colon, password = signed.partition(":")
        words = unquote(user) or None, unquote(password) if colon else None
        return Address(host.strip("[]"), int(port), *words, tls)

    def with_password(self, password: str) -> Address:
        """Return the address with a password from elsewhere. Raises CloudError."""
        if self.password is not None:
            raise CloudError("--broker already contains a password: specify it only once")
        if self.user is None:
            raise CloudError("a broker password needs a user name: use --broker USER@HOST:PORT")
        return replace(self, password=password)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Listener(Protocol):
    """Takes messages that are not reports; its methods must not block."""

    @property
    def filters(self) -> Sequence[tuple[str, int]]:
        """The topics to subscribe to, each with its QoS."""

    @property
    def will(self) -> tuple[str, bytes]:
        """What the broker publishes, and retains, when it loses the session."""

    def heard(self, topic: str, payload: bytes, retained: bool) -> bool:
        """Return whether the message was for this listener."""

    def connected(self) -> None: ...

    def lost(self) -> None: ...


class MqttSession:
    """`client_id` identifies the session; the broker keeps its reports while it is offline.

    `on_message` is called from the network's thread and must not block.
    """

    def __init__(
        self,
        broker: Address,
        client_id: str,
        on_message: Callable[[Message], None],
        prefix: TopicPrefix = TopicPrefix(),  # noqa: B008 (immutable)
    ) -> None:
        self.listener: Listener | None = None  # set before `start`
        self._broker = broker
        self._prefix = prefix
        self.check = BrokerProbe(client_id, lambda topic, data: self.publish(topic, data, 0))
        self._on_message = on_message
        self._connection = 0
        self._subscribed = threading.Event()
        self._settled = threading.Event()  # subscribed for the first time, or refused for good
        self._refused: str | None = None
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            manual_ack=True,
            transport="unix" if broker.path else "tcp",
        )
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set()
        self._client.reconnect_delay_set(1, 30)
        # Do not queue messages while offline: URLs expire, and devices repeat their reports.
        self._client.max_queued_messages_set(10000)
        self._client.max_inflight_messages_set(1000)
        self._client.on_socket_open = _send_at_once
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._answered
        self._client.on_message = self._received

    @property
    def connected(self) -> bool:
        """Whether the session is subscribed to reports."""
        return self._subscribed.is_set()

    def start(self, timeout_s: float = 10.0) -> None:
        """Wait until subscribed; afterwards reconnect automatically. Raises CloudError."""
        broker = self._broker
        if self.listener:
            self._client.will_set(*self.listener.will, qos=1, retain=True)
        try:
            self._client.connect(broker.path or broker.host, broker.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise CloudError(
                f"cannot reach an MQTT broker at {broker} ({error}): start it, specify another "
                "with --broker HOST:PORT, or omit --broker to use the built-in broker"
            ) from None
        self._client.loop_start()
        self._settled.wait(timeout_s)
        if not self._subscribed.is_set():
            self.stop()
            raise CloudError(f"the MQTT broker at {broker} {self._refused or 'does not respond'}")

    def stop(self) -> None:
        self._subscribed.clear()
        end(self._client)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        try:
            self._client.publish(self._prefix.outward(topic), payload, qos, retain)
        except ValueError as error:
            log.warning("cannot publish to %r: %s", topic, error)

    def acknowledge(self, message: Message) -> None:
        # An id is valid only in its connection: later it may belong to another message, which the
        # broker would count as delivered. Unacknowledged messages are redelivered.
        if message.qos and message.connection == self._connection:
            self._client.ack(message.mid, message.qos)

    def _connected(self, client: mqtt.Client, _d: Any, _flags: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            self._refused = f"rejected the connection ({reason})"
            log.error("the MQTT broker %s", self._refused)
            if reason != "Server unavailable":  # a state that may be temporary
                self._settled.set()
            return
        self._connection += 1
        filters = (REPORT_FILTER, self.check.update_topic)
        others = self.listener.filters if self.listener else ()
        client.subscribe([*((self._prefix.outward(each), 1) for each in filters), *others])

    def _answered(self, _c: mqtt.Client, _d: Any, _mid: int, reasons: Any, _p: Any) -> None:
        if reasons[0].is_failure:
            self._refused = f"rejected the subscription to {self._prefix.text}/report/# "
            self._refused += f"({reasons[0]})"
            log.error("the MQTT broker %s", self._refused)
            self._settled.set()
            return
        log.info("connected to the MQTT broker at %s", self._broker)
        self.check.connected(updates=not reasons[1].is_failure)
        if self.listener:
            if any(each.is_failure for each in reasons[2:]):
                log.error("the MQTT broker rejected a topic of Home Assistant: check its ACL")
            self.listener.connected()
        self._subscribed.set()
        self._settled.set()

    def _disconnected(self, _c: mqtt.Client, _d: Any, _f: Any, reason: Any, _p: Any) -> None:
        if self._subscribed.is_set():
            log.warning("lost the connection to the MQTT broker (%s); reconnecting", reason)
        self._subscribed.clear()
        self.check.lost()
        if self.listener:
            self.listener.lost()

    def _received(self, client: mqtt.Client, _d: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = self._prefix.inward(message.topic)
        except UnicodeDecodeError:
            topic = ""
        payload = bytes(message.payload)
        listener = self.listener
        if self.check.heard(topic, payload) or (
            listener and listener.heard(topic, payload, bool(message.retain))
        ):
            if message.qos:
                client.ack(message.mid, message.qos)
            return
        self._on_message(
            Message(
                topic,
                bytes(message.payload[:PAYLOAD_MOST]),
                message.qos,
                bool(message.retain),
                message.mid,
                self._connection,
            )
        )


def _send_at_once(_client: mqtt.Client, _data: Any, link: Any) -> None:
    # A response and an acknowledgement are two small packets: otherwise the kernel delays the
    # second back until the first is acknowledged, which takes the peer's kernel 40 ms.
    if link.family == socket.AF_UNIX:
        return
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
