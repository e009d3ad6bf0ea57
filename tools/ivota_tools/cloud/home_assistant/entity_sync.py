"""Keep Home Assistant's entities up to date: one update entity for each accepted device.

The broker retains all messages, so that Home Assistant finds them when it starts. After a restart
of the broker, the cloud sends everything again. It removes the entities of deleted devices, even
those from an earlier process.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..mqtt.report_ingestion import WITH_TARGET
from ..pages import fleet_queries
from ..rollout import wait_reason
from ..store.database import Database, access, settled
from ..store.device_acceptance import ACCEPTED
from ..store.models import Device, Firmware
from . import discovery, install_requests
from .discovery import OFFLINE, ONLINE, Messages, Topics

log = logging.getLogger("ivota.cloud")

LOOK_S = 1.0
ALL_S = 15.0  # between two checks of all devices
DEVICES_MOST = 1000
COMMANDS_MOST = 100  # waiting; more are dropped
VIEW, INSTALL, REMOVE = MODES = ("view", "install", "remove")

Publish = Callable[[str, bytes], None]  # at least once, and retained


class EntitySync:
    """`mode`: VIEW shows entities, INSTALL also obeys them, REMOVE removes them.

    `publish` must not block. `url()` is the console's; `wake` is called when a push is due.
    """

    def __init__(
        self,
        database: Database,
        base: str,
        mode: str,
        publish: Publish,
        url: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self.topics = Topics(base)
        self.will = self.topics.status, OFFLINE
        self._database, self._mode = database, mode
        self._publish, self._url, self._wake = publish, url, wake
        self._sent: Messages = {}
        self._found: set[str] = set()  # nodes whose configuration is at the broker
        self._numbers: dict[str, int] = {}  # of the devices, by node
        self._refused: dict[str, tuple[int, str]] = {}  # with the revision at that time
        self._commands: queue.Queue[str] = queue.Queue(COMMANDS_MOST)
        self._again = threading.Event()
        self._connected = threading.Event()
        self._revision, self._all_at = -1, float("-inf")
        self._mark: tuple[int, ...] = ()
        # Commands have QoS 0: the broker keeps none while the cloud is down.
        commands = [(self.topics.commands, 0)] if mode == INSTALL else []
        self.filters = [(discovery.BIRTH, 0), (self.topics.configs, 1), *commands]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="home-assistant", daemon=True)

    def heard(self, topic: str, payload: bytes, retained: bool) -> bool:
        """Take a message if it is for Home Assistant's entities; for the network's thread."""
        if topic == discovery.BIRTH:
            if payload == ONLINE:
                self._again.set()
        elif node := self.topics.node_of_config(topic):
            if payload:
                self._found.add(node)
        elif node := self.topics.node_of_command(topic):
            # A retained command would be obeyed at each connection.
            if payload == discovery.INSTALL and not retained and not self._commands.full():
                self._commands.put(node)
        else:
            return topic.startswith(f"{discovery.PREFIX}/")
        return True

    def connected(self) -> None:
        """The broker is connected, again or for the first time: it may have lost everything."""
        self._again.set()
        self._connected.set()

    def lost(self) -> None:
        self._connected.clear()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make the entities unavailable."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._mode != REMOVE:
            self._publish(self.topics.status, OFFLINE)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            if not self._connected.is_set():
                continue
            try:
                self._look()
            except SQLAlchemyError as error:
                log.warning("cannot update the entities in Home Assistant: %s", error)
            except Exception:
                log.exception("cannot update the entities in Home Assistant")

    def _look(self) -> None:
        if self._again.is_set():
            self._again.clear()
            self._sent, self._all_at = {}, float("-inf")
        if self._mode == REMOVE:
            self._remove(set())
            for topic in (self.topics.connection, self.topics.status):
                self._send({topic: b""})
            return
        self._send({self.topics.status: ONLINE} | discovery.connection(self.topics, self._url()))
        self._obey()
        with self._database.reading() as session:
            revision = settled(session)
            mark = (access(session), *_firmware(session))
            everything = mark != self._mark or time.monotonic() - self._all_at > ALL_S
            if not everything and revision == self._revision:
                return
            messages = self._messages(session, everything)
        self._send(messages)
        self._revision, self._mark = revision, mark
        if everything:
            self._all_at = time.monotonic()
            self._remove({self.topics.config(node) for node in self._numbers})

    def _messages(self, session: Session, everything: bool) -> Messages:
        query = select(Device).where(Device.status == ACCEPTED).order_by(Device.id)
        if not everything:
            query = query.where(Device.revision > self._revision)
        newest = fleet_queries.newest(session)
        numbers: dict[str, int] = {}
        made: Messages = {}
        now = time.time()
        for device in session.scalars(query.limit(DEVICES_MOST).options(*WITH_TARGET)):
            node = self.topics.node(device)
            if (
                not everything
                and node not in self._numbers
                and (len(self._numbers) >= DEVICES_MOST)
            ):
                continue
            numbers[node] = device.id
            made |= discovery.entity(
                self.topics,
                device,
                install_requests.latest(device, newest),
                self._why(session, node, device, now),
                f"{self._url()}/devices/{device.id}",
                self._mode == INSTALL,
            )
        self._numbers = numbers if everything else self._numbers | numbers
        return made

    def _why(self, session: Session, node: str, device: Device, now: float) -> str:
        revision, reason = self._refused.get(node, (-1, ""))
        if revision == device.revision:
            return f"Not installed: {reason}"
        self._refused.pop(node, None)
        return wait_reason.why(session, device, now, on_page=True)

    def _obey(self) -> None:
        nodes = set()  # pressing a button several times counts once
        while not self._commands.empty():
            nodes.add(self._commands.get())
        for node in nodes:
            number = self._numbers.get(node)
            if number is None:
                continue
            with self._database.writing() as session:
                reason = install_requests.install(session, number)
                device = session.get(Device, number)
                if reason and device is not None:
                    # A button that is pressed again and again leaves one line.
                    if self._refused.get(node) != (device.revision, reason):
                        install_requests.note_refusal(session, device, reason)
                    self._refused[node] = device.revision, reason
            if reason is None:
                self._wake()
            self._all_at = float("-inf")

    def _remove(self, wanted: set[str]) -> None:
        """Remove the entities at the broker that are not wanted."""
        ours = {topic for topic in self._sent if self.topics.node_of_config(topic)}
        ours |= {self.topics.config(node) for node in tuple(self._found)}
        for topic in ours - wanted:
            if node := self.topics.node_of_config(topic):
                self._publish(topic, b"")
                self._publish(self.topics.state(node), b"")
                self._found.discard(node)
                self._sent.pop(topic, None)
                self._sent.pop(self.topics.state(node), None)

    def _send(self, messages: Messages) -> None:
        for topic, payload in messages.items():
            if self._sent.get(topic) != payload:
                self._publish(topic, payload)
                self._sent[topic] = payload


def _firmware(session: Session) -> tuple[int, int]:
    """Return values that change when a firmware is uploaded or deleted."""
    found = session.execute(
        select(func.max(Firmware.id), func.count(Firmware.id)).where(Firmware.deleted_at.is_(None))
    ).one()
    return found[0] or 0, found[1]
