"""How RabbitMQ distributes reports among the processes that store them.

    devices ──MQTT──► amq.topic ──$ota.report.#──► ivota.reports ──► ivota.reports.0 … 31
                                                  (consistent hash)      (quorum queues)

The hash of the topic selects the queue, so all reports of a device are in one queue, in their
order. A queue has one active consumer at a time. Every process consumes all queues, each with the
priority that `priority` returns, and RabbitMQ selects the highest: so each process is active on
about as many queues as the others, and takes over when one ends, with no coordination.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..mqtt.messages import REPORT_FILTER
from ..mqtt.topic_prefix import TopicPrefix

if TYPE_CHECKING:  # the library is optional
    from pika.adapters.blocking_connection import BlockingChannel

TOPICS = "amq.topic"  # where the MQTT plugin publishes
EXCHANGE = "ivota.reports"
# More processes than queues would be idle. The number is fixed: with another one, a device's
# reports would be in two queues for a while, and lose their order.
QUEUES = 32
# Beyond this, the broker no longer acknowledges reports, and devices retry.
QUEUE_BYTES = 64 * 1024 * 1024
PRIORITIES = 1000

# Of each queue.
ARGUMENTS: Mapping[str, object] = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-queue-leader-locator": "balanced",
    # Otherwise RabbitMQ would drop a report after 20 processes have died with it.
    "x-delivery-limit": -1,
    "x-max-length-bytes": QUEUE_BYTES,
    "x-overflow": "reject-publish",
}


def queue_names() -> list[str]:
    return [f"{EXCHANGE}.{number}" for number in range(QUEUES)]


def declare(channel: BlockingChannel) -> None:
    """Create what is missing of the exchange and the queues, without a route to them.

    Raises pika.exceptions.AMQPError, also if something exists with other properties.
    """
    channel.exchange_declare(EXCHANGE, "x-consistent-hash", durable=True)
    for name in queue_names():
        channel.queue_declare(name, durable=True, arguments=ARGUMENTS)


def bind(channel: BlockingChannel, prefix: TopicPrefix) -> None:
    """Create what is missing of the route to the queues, each of which must have a consumer.

    So a queue that no consumer could ever read has never received a report (`discard_unread`).
    """
    for name in queue_names():
        channel.queue_bind(name, EXCHANGE, routing_key="1")  # all with the same weight
    # Last, so that no report arrives while the queues are few.
    channel.exchange_bind(EXCHANGE, TOPICS, routing_key(prefix.outward(REPORT_FILTER)))


def discard_unread(channel: BlockingChannel, name: str, probe: str) -> bool:
    """Delete a queue that cannot be read, if no report can be in it; return whether it was.

    If a node is killed while it creates a quorum queue, the queue exists afterwards, but RabbitMQ
    cannot deliver from it. No queue has got a report yet if the exchange has no queue at all, so
    it returns a message to it. `probe` is the routing key of that message.
    """
    returned: list[object] = []
    channel.add_on_return_callback(lambda *message: returned.append(message))
    # Without a confirmation, which would never come from a queue that has lost its nodes.
    channel.basic_publish(EXCHANGE, probe, b"", mandatory=True)
    channel.exchange_declare(EXCHANGE, passive=True)  # is answered after the message
    channel.connection.process_data_events(0)
    # Somebody may have deleted the exchange, and its routes with it: the queue may have reports.
    if not returned or channel.queue_declare(name, passive=True).method.message_count:
        return False
    channel.queue_delete(name)
    return True


def forget_session(channel: BlockingChannel, client_id: str) -> None:
    """Delete what RabbitMQ keeps for a persistent MQTT session of the cloud itself.

    Its queue would grow with each report, and if its node is down, no report is acknowledged.
    """
    for name in session_queues(client_id):
        channel.queue_delete(name)


def session_queues(client_id: str) -> tuple[str, ...]:
    """Return the names of the queues of an MQTT session, one for each QoS."""
    return tuple(f"mqtt-subscription-{client_id}qos{qos}" for qos in (0, 1))


def routing_key(topic: str) -> str:
    """Return RabbitMQ's name for an MQTT topic; dots and slashes become the same."""
    return topic.replace("/", ".")


def topic(routing_key: str) -> str:
    return routing_key.replace(".", "/")


def priority(process: str, queue: str) -> int:
    """Return how strongly a process claims a queue: a number below `PRIORITIES`.

    Another process's number for the same queue is independent of it (rendezvous hashing).
    """
    digest = hashlib.sha256(f"{process} {queue}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % PRIORITIES
