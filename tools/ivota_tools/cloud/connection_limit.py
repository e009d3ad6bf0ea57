"""Limit and accept the connections of a listener.

A connection is `waiting` until its first request is complete, while it is idle between requests,
and while a stranger's request is delayed or its response is not read. If there are too many
connections, the one that has waited longest is closed; a connection that is being served never is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from .network_addresses import Networks, is_loopback, network

log = logging.getLogger("ivota.cloud")

HANDSHAKE_S = 10.0  # maximum duration of the TLS handshake
RESERVED = 160  # file descriptors for the database, firmware files and the broker
HTTP_MOST = 4096  # connections, however many descriptors there are
DEVICE_BYTES = 64 * 1024  # of memory for a device that is connected over TLS, broker and all
NO_DESCRIPTORS_S = 1.0  # before the next try if the system has no descriptor left


@dataclass(frozen=True)
class Room:
    """The maximum number of connections of this process, for HTTP and for devices."""

    http: int
    mqtt: int


def room(devices_most: int | None = None) -> Room:
    """Raise the limit of file descriptors as far as allowed, and divide them between HTTP and
    devices. Without `devices_most`, connected devices may use half of the machine's memory.
    """
    if devices_most is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        devices_most = memory // 2 // DEVICE_BYTES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):  # the system has a lower limit
            pass
    free = max(soft - RESERVED, soft // 2)
    http = max(min(free // 2, HTTP_MOST), 16)
    # A device takes two: its own connection, and one to the broker.
    return Room(http, max(min((free - http) // 2, devices_most), 16))


class Connection:
    """A connection of a table. `cut` closes it immediately, whatever its state."""

    def __init__(self, table: Table, address: str, cut: Callable[[], None]) -> None:
        self._table = table
        self.address = address
        self.cut = cut

    def wait(self) -> None:
        """Mark the connection as waiting: if the table is full, it can be closed."""
        if self in self._table._all:
            self._table._waiting.setdefault(self)

    def serve(self) -> None:
        """Mark the connection as being served, so that it is kept."""
        self._table._waiting.pop(self, None)

    def leave(self) -> None:
        """Remove the closed connection; can be called repeatedly."""
        self.serve()
        if self in self._table._all:
            self._table._all.remove(self)
            self._table._by_address[self.address] -= 1
            if not self._table._by_address[self.address]:
                del self._table._by_address[self.address]


class Table:
    """A table of at most `most` connections, at most half of them from one sender.

    An IPv6 network of 64 bits counts as one sender. This machine and the proxies in `trusted`
    forward the connections of many clients, so they may use the whole table.
    """

    def __init__(self, most: int, trusted: Networks | None = None) -> None:
        self.most = most
        self._trusted = Networks() if trusted is None else trusted
        self._all: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # ordered by time

    def __len__(self) -> int:
        return len(self._all)

    @property
    def serving(self) -> int:
        return len(self._all) - len(self._waiting)

    def enter(self, address: str, cut: Callable[[], None]) -> Connection | None:
        """Add a waiting connection; return None if the table is full of served connections."""
        where = network(address)
        shared = not where or is_loopback(address) or address in self._trusted
        if not shared and self._by_address[where] >= max(self.most // 2, 1):
            if not self._cut_one(where):
                return None
        if len(self._all) >= self.most and not self._cut_one(None):
            return None
        made = Connection(self, where, cut)
        self._all.add(made)
        self._by_address[where] += 1
        made.wait()
        return made

    def _cut_one(self, address: str | None) -> bool:
        for each in self._waiting:
            if address is None or each.address == address:
                each.leave()
                each.cut()
                return True
        return False


async def accept(
    listener: socket.socket,
    table: Table,
    protocol: Callable[[Connection], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None,
    name: str,
) -> None:
    """Accept connections until cancelled, and create a `protocol` for each."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    opening: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                link, peer = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # the peer left before the connection was accepted
            except OSError as error:
                log.error("cannot accept more %s connections: %s", name, error.strerror)
                await asyncio.sleep(NO_DESCRIPTORS_S)
                continue
            address = peer[0] if isinstance(peer, tuple) else ""
            held = table.enter(address, link.close)
            if held is None:
                log.warning("rejected the %s connection from %s: all %d connections are in use",
                            name, address, table.most)  # fmt: skip
                link.close()
                await asyncio.sleep(0)
                continue
            task = loop.create_task(_open(link, held, protocol, tls))
            held.cut = task.cancel  # type: ignore[assignment]
            opening.add(task)
            task.add_done_callback(opening.discard)
            await asyncio.sleep(0)  # let accepted connections run between two accepts
    finally:
        for task in opening:
            task.cancel()


async def _open(
    link: socket.socket,
    held: Connection,
    protocol: Callable[[Connection], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None,
) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: protocol(held),
            link,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_S if tls else None,
        )
    except asyncio.CancelledError:
        held.leave()
        link.close()
    except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
        held.leave()  # the peer left or did not finish the handshake
        link.close()
