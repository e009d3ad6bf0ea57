"""A proxy in front of the broker that checks each CONNECT and limits each device.

The broker receives `{product_id}/{device_name}` as the client id and the user name, so that its
rules can restrict devices to their own topics. It listens only on a Unix socket that only the
cloud's user can open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from asyncio import sslproto
from collections.abc import Callable
from pathlib import Path

from ...common.unix_path import unix_path
from ..accounts.token_guess_delay import WrongTries
from ..cloud_error import CloudError
from ..connection_limit import Connection, Table, accept
from ..tls_certificate import Certificate
from .connect_packet import BAD_PASSWORD, Connect, Refused, read_connect, read_first
from .device_budget import Budget, DeviceBudget, Packets, TooLong
from .device_sign_in import Credentials, Known, Link
from .messages import update_topic
from .psk_tls import PskContext, PskProtocol
from .subscribe_limits import SUBSCRIBE, SubscribeError, only_own
from .topic_prefix import TopicPrefix

log = logging.getLogger("ivota.cloud")

CONNECT_S = 10.0  # seconds from the connection to a CONNECT, and from there to its forwarding
STALLED_S = 120.0  # seconds for a device to read the contents of its connection's buffer
PIECE = 65536
LOOK_S = 0.3  # seconds between two checks of permissions, and of room for reports
PACE_S = 0.05  # seconds of delay for each dropped piece of a flood
TELL_S = 60.0  # seconds between two log lines about one device's flood
BUDGETS_MOST = 1000  # budgets of devices that are not connected
TLS_BUFFER = 16 * 1024  # bytes per connection

Told = Callable[[str], None]


class Device:
    """A signed-in device with all of its connections."""

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.budget = DeviceBudget(budget)
        self.links: dict[
            Connection, str
        ] = {}  # with the mark of the secret or certificate that each used
        self.told_at = float("-inf")


class Front:
    """Listen on (host, port) immediately, and forward to the broker's Unix socket after `start()`.

    `tls` is the server context for devices that use TLS. With `psk`, devices that use their secret
    as the TLS key are served on `psk_port`, or on `port` if that is None. `full()` returns whether
    no more reports can be stored for now. `on_flood(name)` is called when a device exceeds its
    budget.
    """

    def __init__(
        self,
        host: str,
        port: int,
        credentials: Credentials,
        tries: WrongTries,
        *,
        tls: ssl.SSLContext | None = None,
        psk: PskContext | None = None,
        psk_port: int | None = None,
        table: Table | None = None,
        budget: Budget = Budget(),  # noqa: B008 (immutable)
        prefix: TopicPrefix = TopicPrefix(),  # noqa: B008 (immutable)
        full: Callable[[], bool] = lambda: False,
        on_flood: Told = lambda name: None,
    ) -> None:
        self._credentials, self._tries = credentials, tries
        self._tls, self._psk = tls, psk
        if tls:
            _small_tls_buffers()
        self.table = Table(1 << 20) if table is None else table
        self._budget, self._full, self._on_flood = budget, full, on_flood
        self._prefix = prefix
        self._broker = ""
        self._devices: dict[str, Device] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = _listen(host, port, "--mqtt-port")
        self.port: int = self._socket.getsockname()[1]
        self._psk_socket: socket.socket | None = None
        self.psk_port = self.port if psk else None
        if psk and psk_port is not None:
            try:
                self._psk_socket = _listen(host, psk_port, "--psk-port")
            except CloudError:
                self._socket.close()
                raise
            self.psk_port = self._psk_socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)

    def start(self, broker: Path) -> None:
        self._broker = unix_path(broker)
        self._thread.start()

    def reload(self, certificate: Certificate, psk: PskContext | None) -> None:
        """Use the certificate's new files for new connections."""

        def use() -> None:
            if self._tls:
                self._tls.load_cert_chain(certificate.chain, certificate.key, password="")
            if psk:
                self._psk = psk

        self._loop.call_soon_threadsafe(use)  # handshakes run there, so none is in progress

    def stop(self) -> None:
        """Close every connection and wait until the port is free."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()
        if self._psk_socket:
            self._psk_socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        alone = self._psk and not self._psk_socket
        first = self._psk_protocol if alone else self._protocol
        works = [
            accept(self._socket, self.table, first, None if alone else self._tls, "MQTT"),
            self._watch(),
        ]
        if self._psk_socket:
            works.append(accept(self._psk_socket, self.table, self._psk_protocol, None, "MQTT"))
        for work in works:
            task = self._loop.create_task(work)
            self._tasks.add(task)
        self._room = asyncio.Event()
        self._room.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _protocol(self, held: Connection) -> asyncio.StreamReaderProtocol:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.cut = writer.transport.abort
            try:
                await self._serve(held, reader, writer)
            except (OSError, EOFError, TimeoutError, asyncio.TimeoutError, TooLong):
                pass  # the connection was closed, on either side
            except asyncio.CancelledError:
                pass  # the proxy is closing, and asyncio would log each connection
            finally:
                held.leave()
                writer.close()

        reader = asyncio.StreamReader(limit=PIECE // 2, loop=self._loop)
        return asyncio.StreamReaderProtocol(reader, accepted, loop=self._loop)

    def _psk_protocol(self, held: Connection) -> PskProtocol:
        assert self._psk
        made = PskProtocol(self._psk, self._protocol(held), held.leave)
        held.cut = made.abort
        return made

    async def _serve(
        self, held: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            body = await asyncio.wait_for(read_first(reader), CONNECT_S)
            connect = read_connect(body)
            proved = writer.get_extra_info("device"), _certificate(writer)
            found = await asyncio.to_thread(self._who, connect, *proved)
        except Refused as refused:
            log.info("sign-in rejected: %s", refused)
            # Delay more and more, but never block: several devices may share an address.
            await asyncio.sleep(self._tries.wait_s(held.address))
            await asyncio.to_thread(self._tries.wrong, held.address)
            if refused.code is not None:
                writer.write(bytes([0x20, 2, 0, refused.code]))
                with contextlib.suppress(OSError):
                    await writer.drain()
            return
        name, mark = found
        device = self._devices.setdefault(name, Device(name, self._budget))
        device.links[held] = mark  # from now on it is closed when the secret is removed
        try:
            # Each CONNECT may leave a will with the broker, which is a report like any other.
            if not device.budget.has(len(body)):
                self._flooded(device)
            await asyncio.wait_for(device.budget.take(len(body)), CONNECT_S)
            held.serve()
            await self._pass(device, connect.as_user(name), reader, writer)
        finally:
            device.links.pop(held, None)

    def _who(self, connect: Connect, known: Known | None, certificate: bytes | None) -> Link:
        """Return the device that signs in with this CONNECT; `known` is the device proved by TLS.

        Raises Refused.
        """
        if certificate and known is None:
            known = self._credentials.holder(certificate)
            if known is None:
                raise Refused("the certificate is revoked or does not name a device", BAD_PASSWORD)
        client_id, user, password = connect.client_id, connect.user, connect.password
        if known is None or password:
            found = self._credentials.check(client_id, user, password)
            if found is None:
                raise Refused(f"{client_id!r} did not send a valid secret", BAD_PASSWORD)
            if known is None:
                return found
        name = user.partition(";")[0]
        if client_id != known.name.replace("/", "", 1) or name not in ("", client_id):
            raise Refused(
                f"{known.name} proved its identity by TLS, but used the client id {client_id!r} "
                f"and the user name {name!r}",
                BAD_PASSWORD,
            )
        link = known.name, known.mark
        if link not in self._credentials.still([link]):
            raise Refused(f"{known.name} is no longer allowed to sign in", BAD_PASSWORD)
        return link

    async def _pass(
        self,
        device: Device,
        connect: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        from_broker, to_broker = await asyncio.open_unix_connection(self._broker)
        to_broker.write(connect)
        pumps = [
            asyncio.ensure_future(self._up(device, reader, to_broker)),
            asyncio.ensure_future(_down(from_broker, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            to_broker.close()

    async def _up(
        self, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward from the device to the broker, within the budget and while there is room."""
        packets = Packets()
        own = self._prefix.outward(update_topic(*device.name.split("/", 1)))
        with contextlib.suppress(OSError, TooLong, SubscribeError):
            while data := await reader.read(PIECE):
                dropped = False
                for packet in packets.feed(data):
                    if device.budget.has(len(packet)) and self._room.is_set():
                        await device.budget.take(len(packet))
                    elif packet[0] & 0xF6 == 0x30:  # a PUBLISH with QoS 0
                        dropped = True
                        self._flooded(device)
                        continue
                    else:
                        self._flooded(device)
                        await writer.drain()
                        await device.budget.take(len(packet))
                        await self._room.wait()
                    writer.write(only_own(packet, own) if packet[0] == SUBSCRIBE else packet)
                await writer.drain()
                if dropped:
                    await asyncio.sleep(PACE_S)

    def _flooded(self, device: Device) -> None:
        now = self._loop.time()
        if self._room.is_set() and now - device.told_at > TELL_S:
            device.told_at = now
            log.warning(
                "%s exceeds its rate limit: dropping or delaying its messages", device.name
            )
            self._loop.run_in_executor(None, self._on_flood, device.name)

    async def _watch(self) -> None:
        """Close connections that are no longer allowed; pause reading while nothing is stored."""
        known: object = None
        while True:
            await asyncio.sleep(LOOK_S)
            if self._full():
                self._room.clear()
            else:
                self._room.set()
            with contextlib.suppress(Exception):  # a database error; retried at the next check
                now = await asyncio.to_thread(self._credentials.access)
                if now != known:
                    await self._cut_revoked()
                    known = now
            if len(self._devices) > BUDGETS_MOST + len(self.table):
                for device in [each for each in self._devices.values() if not each.links]:
                    if device.budget.is_full:
                        del self._devices[device.name]

    async def _cut_revoked(self) -> None:
        links = [
            (each.name, mark) for each in self._devices.values() for mark in each.links.values()
        ]
        good = await asyncio.to_thread(self._credentials.still, links)
        for name in {name for name, _ in links}:
            device = self._devices[name]
            for held in [each for each, by in device.links.items() if (name, by) not in good]:
                log.warning("%s is no longer allowed to connect: closing its connection", name)
                held.cut()


def _listen(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1000)
    except OSError as error:
        raise CloudError(
            f"MQTT port {port} on {host} cannot be used ({error.strerror}): choose another with "
            f"{option}"
        ) from None


def _certificate(writer: asyncio.StreamWriter) -> bytes | None:
    """Return the client's certificate as DER; TLS has verified it."""
    if own := writer.get_extra_info("certificate"):
        return bytes(own)
    tls = writer.get_extra_info("ssl_object")
    return tls.getpeercert(True) if tls else None


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward from the broker to the device. Closes the connection if the device stops reading:
    the broker would keep everything that it has for this device in memory.
    """
    with contextlib.suppress(OSError):
        try:
            while data := await reader.read(PIECE):
                writer.write(data)
                await asyncio.wait_for(writer.drain(), STALLED_S)
        except (TimeoutError, asyncio.TimeoutError):
            writer.transport.abort()  # closing would wait for the device to read


def _small_tls_buffers() -> None:
    """Limit a TLS connection's receive buffer, which is 256 KiB in asyncio of Python 3.11+."""
    if hasattr(sslproto.SSLProtocol, "max_size"):
        sslproto.SSLProtocol.max_size = TLS_BUFFER
