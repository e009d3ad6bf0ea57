"""Sign-in before the broker: checks each CONNECT by the vendor's rule, then only passes bytes on.

A device signs in with client id `{product_id}{device_name}`, the user name
`{client id};{SDK's id};{5 characters};{expiry}` and the password `{HMAC};hmacsha256`, or
hmacsha1: in hex, of the user name under the device's secret. The broker behind is told
`{product_id}/{device_name}` as the user name, so that its rules can keep devices to their own
topics.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, or_, select

from .database import Database
from .errors import CloudError
from .models import Device
from .protocol import NAME_MOST

log = logging.getLogger("ivota.cloud")

CONNECT_S = 10.0  # from the connection to a whole CONNECT
CONNECT_MOST = 8192  # bytes, with a will
PIECE = 16384
EXPIRY_MOST = 40  # characters that are looked at
METHODS = {"hmacsha256": "sha256", "hmacsha1": "sha1"}
LEVELS = {b"MQIsdp": 3, b"MQTT": 4}
BAD_VERSION, BAD_PASSWORD = 1, 4  # CONNACK's return codes

Authenticate = Callable[[str, str, str], "str | None"]


class Refused(Exception):
    """A CONNECT that is not let through; `code` is what CONNACK says, None where it is no MQTT."""

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Connect:
    """The parts of a CONNECT; `middle` is the will as it came."""

    protocol: bytes
    flags: int
    keepalive: bytes
    client_id: str
    middle: bytes
    user: str
    password: str

    def as_user(self, user: str) -> bytes:
        """The packet that tells the broker another user name, and no password."""
        head = struct.pack(">H", len(self.protocol)) + self.protocol
        head += bytes([LEVELS[self.protocol], self.flags & 0x3F | 0x80]) + self.keepalive
        body = head + _text(self.client_id) + self.middle + _text(user)
        return b"\x10" + _length(len(body)) + body


def read_connect(body: bytes) -> Connect:
    """What follows the fixed header. Raises Refused."""
    try:
        protocol, rest = _take(body)
        level, flags, keepalive, rest = rest[0], rest[1], rest[2:4], rest[4:]
        if LEVELS.get(protocol) != level:
            raise Refused(f"MQTT version {level}", BAD_VERSION)
        client_id, rest = _take(rest)
        start = rest
        if flags & 0x04:  # a will: its topic and its message
            _, rest = _take(_take(rest)[1])
        middle = start[: len(start) - len(rest)]
        user, rest = _take(rest) if flags & 0x80 else (b"", rest)
        password, rest = _take(rest) if flags & 0x40 else (b"", rest)
        words = client_id.decode(), middle, user.decode(), password.decode()
    except (IndexError, struct.error, UnicodeDecodeError):
        raise Refused("a CONNECT that is not whole") from None
    return Connect(protocol, flags, keepalive, *words)


def is_signed(client_id: str, user: str, password: str, secret: str, now: float) -> bool:
    """Whether this user name and password are the vendor's for a device with this secret."""
    parts = user.split(";")
    digest, _, method = password.partition(";")
    if len(parts) != 4 or parts[0] != client_id or method not in METHODS:
        return False
    if _expired(parts[3], now):
        return False
    try:
        key = base64.b64decode(secret)
    except (binascii.Error, ValueError):
        return False
    right = hmac.new(key, user.encode(), METHODS[method]).hexdigest()
    return hmac.compare_digest(digest.lower().encode(), right.encode())


def _expired(expiry: str, now: float) -> bool:
    """Whether its time has passed. SDKs write what they like: the largest number, or no number."""
    try:
        return float(expiry[:EXPIRY_MOST]) <= now
    except ValueError:
        return False  # signed by the device all the same


def by_database(database: Database) -> Authenticate:
    """(client id, user name, password) -> PRODUCT/NAME, or None."""

    def check(client_id: str, user: str, password: str) -> str | None:
        if not 2 <= len(client_id) <= 2 * NAME_MOST or not client_id.isprintable():
            return None
        # Where the product ends and the name begins cannot be seen from the client id: each place
        # is looked up, which is still one look into an index.
        ends = range(max(1, len(client_id) - NAME_MOST), min(len(client_id) - 1, NAME_MOST) + 1)
        query = select(Device.product_id, Device.device_name, Device.secret).where(
            or_(
                *(
                    and_(
                        Device.product_id == client_id[:end], Device.device_name == client_id[end:]
                    )
                    for end in ends
                )
            ),
            Device.secret.is_not(None),
        )
        with database.reading() as session:
            found = session.execute(query).tuples().all()
        for product_id, device_name, secret in found:
            if is_signed(client_id, user, password, secret or "", time.time()):
                return f"{product_id}/{device_name}"
        return None

    return check


class Front:
    """Listens on (host, port) at once, passes on to the broker at (host, port) from `start()`.

    `tls` is the context of a server that devices reach over TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        authenticate: Authenticate,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._authenticate = authenticate
        self._tls = tls
        self._broker = ("", 0)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=1000)
        except OSError as error:
            raise CloudError(
                f"MQTT port {port} on {host} cannot be used ({error.strerror}): choose another "
                "with --mqtt-port"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)

    def start(self, broker_host: str, broker_port: int) -> None:
        self._broker = (broker_host, broker_port)
        self._thread.start()

    def stop(self) -> None:
        """Cuts every connection and returns once the port is free."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(
            self._accept,
            sock=self._socket,
            ssl=self._tls,
            ssl_handshake_timeout=CONNECT_S if self._tls else None,
        )
        server = self._loop.run_until_complete(serving)
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
            pass  # a link that was cut, on either side
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            body = await asyncio.wait_for(_read_first(reader), CONNECT_S)
            connect = read_connect(body)
            words = connect.client_id, connect.user, connect.password
            user = await asyncio.to_thread(self._authenticate, *words)
            if user is None:
                raise Refused(f"{connect.client_id!r} is not signed", BAD_PASSWORD)
        except Refused as refused:
            log.warning("sign-in refused: %s", refused)
            if refused.code is not None:
                writer.write(bytes([0x20, 2, 0, refused.code]))
                with contextlib.suppress(OSError):
                    await writer.drain()
            return
        from_broker, to_broker = await asyncio.open_connection(*self._broker)
        to_broker.write(connect.as_user(user))
        pumps = [
            asyncio.ensure_future(_pump(reader, to_broker)),
            asyncio.ensure_future(_pump(from_broker, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            to_broker.close()


async def _read_first(reader: asyncio.StreamReader) -> bytes:
    if (await reader.readexactly(1))[0] != 0x10:
        raise Refused("no CONNECT")
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > CONNECT_MOST or shift > 28:
            raise Refused("a CONNECT that is too long")
        if not byte & 0x80:
            return await reader.readexactly(size)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()


def _take(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">H", data)
    if len(data) < 2 + size:
        raise IndexError
    return data[2 : 2 + size], data[2 + size :]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _length(size: int) -> bytes:
    out = b""
    while True:
        size, low = divmod(size, 128)
        out += bytes([low | (0x80 if size else 0)])
        if not size:
            return out
