"""Simulate a bad network: a TCP proxy that cuts, stalls, delays and slows down connections."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

_CHUNK = 16384
_BACKLOG = 64  # chunks in transit in one direction, so that a delay does not throttle
_PACE_STEP_S = 0.02  # how often a paced link without segments sends, approximately

T = TypeVar("T")


@dataclass(frozen=True)
class Cut:
    """End the connection that carries it, right after byte `after_bytes`.

    Bytes are counted over all connections towards `towards`, "board" or "server", since the
    previous cut of the schedule. 0: before the next byte.
    `kind`: "fin": the board reads an end of file; "rst": a reset, bytes in transit are lost;
    "silence": the connection stays open, but nothing passes in either direction.
    """

    after_bytes: int
    kind: str = "fin"
    towards: str = "board"

    def __post_init__(self) -> None:
        if self.kind not in ("fin", "rst", "silence") or self.towards not in ("board", "server"):
            raise ValueError(f"not a valid cut: {self}")


@dataclass(frozen=True)
class CutRecord:
    """A cut that happened: the connection, the total bytes before it, and the time."""

    kind: str
    connection: int
    received: int
    sent: int
    time: float  # time.monotonic()


@dataclass
class Connection:
    """Bytes that passed: `received` towards the board, `sent` by it."""

    number: int
    opened: float
    received: int = 0
    sent: int = 0
    closed: float | None = None
    # "board", "server", "refused" (by the server), "proxy", or the kind of cut
    ended_by: str | None = None


@dataclass(eq=False)
class _Link:
    """A connection's two sockets and the tasks that move its bytes."""

    connection: Connection
    board: socket.socket
    server: socket.socket
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class Proxy:
    """Listen on `listen_host`:`port` and forward every connection to the target.

    `buffer` is the size of the sockets' kernel buffers, small so that few bytes are in transit at
    a cut. (The kernel doubles it and has a minimum. The board's own receive buffer is separate:
    pace the link to keep it empty.) All methods can be called from any thread; changes also apply
    to open connections.

    Programs see silence, but the kernel still acknowledges what the board sends until the buffers
    are full.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        listen_host: str = "127.0.0.1",
        listen_port: int = 0,
        buffer: int | None = None,
    ):
        self._target = (target_host, target_port)
        self._host = listen_host
        self._buffer = buffer
        self.received = 0  # bytes, server → board
        self.sent = 0  # bytes, board → server
        self.connections: list[Connection] = []
        self.cuts: list[CutRecord] = []
        self._rate: float | None = None
        self._delay_s = 0.0
        self._segment: int | None = None
        self._schedule: Iterator[Cut] = iter(())
        self._next_cut: Cut | None = None
        self._since_cut = 0
        self._free_at = {"board": 0.0, "server": 0.0}
        self._links: list[_Link] = []
        self._leftover: list[socket.socket] = []  # of cut connections, open until close()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        # Bound but never listening: reserves the port while connections are refused.
        self._reserved = self._bound(listen_port)
        self.port: int = self._reserved.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.accept()

    # --- faults

    def schedule(self, cuts: Iterable[Cut]) -> None:
        """Replace the schedule of cuts. It can be endless, like itertools.repeat."""

        def change() -> None:
            self._schedule = iter(cuts)
            self._next_cut = next(self._schedule, None)
            self._since_cut = 0

        self._call(change)

    def pace(self, bytes_per_s: float | None) -> None:
        """Limit the rate of all connections together, in each direction; None: no limit."""
        if bytes_per_s is not None and bytes_per_s <= 0:
            raise ValueError("bytes_per_s must be above 0: use stall() to let nothing pass")
        self._call(lambda: setattr(self, "_rate", bytes_per_s))

    def delay(self, seconds: float) -> None:
        """Delay every byte by this time, in each direction."""
        self._call(lambda: setattr(self, "_delay_s", seconds))

    def segment(self, size: int | None) -> None:
        """Forward at most `size` bytes at a time, like a network with that segment size.

        A receiver that is slower than the sender still reads several segments at once; also use
        pace().
        """
        self._call(lambda: setattr(self, "_segment", size))

    def stall(self) -> None:
        """Let nothing pass until resume(), without losing anything. Connecting still works."""
        self._call(self._flowing.clear)

    def resume(self) -> None:
        self._call(self._flowing.set)

    def refuse(self) -> None:
        """Refuse new connections until accept(). Open ones stay."""

        def change() -> None:
            if self._accepting:
                self._accepting.cancel()
                self._accepting = None
            if self._listener:
                self._loop.remove_reader(self._listener.fileno())
                self._listener.close()
                self._listener = None

        self._call(change)

    def accept(self) -> None:
        """Accept connections again."""

        def change() -> None:
            if self._listener:
                return
            listener = self._bound(self.port)
            listener.listen(64)
            self._listener = listener
            self._accepting = self._spawn(self._accept(listener))

        self._call(change)

    def cut_now(self, kind: str = "rst") -> int:
        """Cut every open connection; return their number."""
        Cut(0, kind)

        def change() -> int:
            links = list(self._links)
            for link in links:
                self._cut(link, kind)
            return len(links)

        return self._call(change)

    # --- watching

    @property
    def open_connections(self) -> int:
        """Return the number of connections that pass bytes."""
        return len(self._links)

    def wait_received(self, size: int, timeout_s: float = 60) -> None:
        """Wait until that many bytes in total went towards the board. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while self.received < size:
            if time.monotonic() > until:
                raise TimeoutError(
                    f"received only {self.received} of {size} bytes within {timeout_s:g} s"
                )
            time.sleep(0.001)

    def close(self) -> None:
        """Stop everything. Open connections are reset."""
        if self._loop.is_closed():
            return
        self.refuse()
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside the event loop

    def _call(self, change: Callable[[], T]) -> T:
        """Run a coroutine in the loop's thread and return its result."""

        async def run() -> T:
            return change()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def _spawn(self, work: "Coroutine[Any, Any, None]") -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _bound(self, port: int) -> socket.socket:
        result = socket.socket()
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tune(result)
        result.bind((self._host, port))
        result.setblocking(False)
        return result

    # Buffer sizes only count before connect() and listen(); accepted sockets inherit them.
    def _tune(self, sock: socket.socket) -> None:
        if self._buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            board, _ = await self._loop.sock_accept(listener)
            self._spawn(self._connect(board))

    async def _connect(self, board: socket.socket) -> None:
        connection = Connection(len(self.connections), time.monotonic())
        self.connections.append(connection)
        server = socket.socket()
        self._tune(server)
        server.setblocking(False)
        try:
            await self._loop.sock_connect(server, self._target)
        except OSError:
            self._closed(connection, "refused")
            server.close()
            _reset(board)
            return
        except asyncio.CancelledError:
            self._closed(connection, "proxy")
            server.close()
            _reset(board)
            raise
        for sock in (board, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(connection, board, server)
        self._links.append(link)
        for source, sink, towards in ((board, server, "server"), (server, board, "board")):
            queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_BACKLOG)
            link.tasks.append(self._spawn(self._read(link, source, queue, towards)))
            link.tasks.append(self._spawn(self._write(link, sink, queue, towards)))

    async def _read(
        self,
        link: _Link,
        source: socket.socket,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        towards: str,
    ) -> None:
        while True:
            try:
                data = await self._loop.sock_recv(source, _CHUNK)
            except OSError:
                self._broken(link, "server" if towards == "board" else "board")
                return
            await queue.put((time.monotonic(), data))
            if not data:
                return

    async def _write(
        self,
        link: _Link,
        sink: socket.socket,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        towards: str,
    ) -> None:
        while True:
            arrived, data = await queue.get()
            late = arrived + self._delay_s - time.monotonic()
            if late > 0:
                await asyncio.sleep(late)
            if not data:
                await self._flowing.wait()
                self._half_closed(link, sink, "server" if towards == "board" else "board")
                return
            view = memoryview(data)
            while view:
                size = await self._turn(len(view), towards)
                cut = self._next_cut
                if cut and cut.towards == towards:
                    size = max(0, min(size, cut.after_bytes - self._since_cut))
                    self._since_cut += size  # before sending: connections share the count
                try:
                    if size:
                        await self._send(link, sink, view[:size], towards)
                except OSError:
                    self._broken(link, towards)
                    return
                view = view[size:]
                if cut and cut is self._next_cut and cut.towards == towards:
                    if self._since_cut >= cut.after_bytes:
                        self._next_cut = next(self._schedule, None)
                        self._since_cut = 0
                        self._cut(link, cut.kind)
                        return

    async def _turn(self, size: int, towards: str) -> int:
        """Wait until bytes may pass; return how many of `size` may pass at once."""
        if self._segment:
            size = min(size, self._segment)
        rate = self._rate
        if rate:
            if not self._segment:
                size = min(size, max(1, int(rate * _PACE_STEP_S)))
            start = max(time.monotonic(), self._free_at[towards])
            self._free_at[towards] = start + size / rate
            await asyncio.sleep(start - time.monotonic())
        elif self._segment:
            await asyncio.sleep(0)
        await self._flowing.wait()
        return size

    async def _send(
        self, link: _Link, sink: socket.socket, view: memoryview, towards: str
    ) -> None:
        while view:
            self._count(link, len(view), towards)  # first: count before the bytes arrive
            size = 0
            try:
                size = sink.send(view)
            except BlockingIOError:
                pass
            finally:
                self._count(link, size - len(view), towards)
            view = view[size:]
            if not size:
                await self._writable(sink)

    def _count(self, link: _Link, size: int, towards: str) -> None:
        if towards == "board":
            self.received += size
            link.connection.received += size
        else:
            self.sent += size
            link.connection.sent += size

    async def _writable(self, sock: socket.socket) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        number = sock.fileno()
        self._loop.add_writer(number, _settle, ready)
        await ready  # a task that cancels this one removes the writer: _drop()
        self._loop.remove_writer(number)

    # --- ends

    def _cut(self, link: _Link, kind: str) -> None:
        number = link.connection.number
        self.cuts.append(CutRecord(kind, number, self.received, self.sent, time.monotonic()))
        self._drop(link, kind)
        if kind == "rst":
            _reset(link.board)
            _reset(link.server)
        elif kind == "fin":
            # Closing with unread bytes would send a reset: read on and discard.
            link.server.close()
            self._spawn(self._finish(link.board))
        else:
            self._leftover += [link.board, link.server]

    async def _finish(self, board: socket.socket) -> None:
        self._leftover.append(board)
        try:
            board.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(board, _CHUNK):
                pass
        except OSError:
            pass
        if board in self._leftover:  # otherwise close() has ended it
            self._leftover.remove(board)
            board.close()

    # One end sent its end of file: forward it; the second one ends the connection.
    def _half_closed(self, link: _Link, sink: socket.socket, by: str) -> None:
        if link.connection.ended_by:
            self._drop(link, link.connection.ended_by)
            link.board.close()
            link.server.close()
            return
        link.connection.ended_by = by
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken(link, by)

    def _broken(self, link: _Link, by: str) -> None:
        if link in self._links:
            self._drop(link, link.connection.ended_by or by)
            _reset(link.board)
            _reset(link.server)

    def _drop(self, link: _Link, ended_by: str) -> None:
        """Remove the connection from the table; the caller closes its sockets."""
        if link in self._links:
            self._links.remove(link)
        me = asyncio.current_task(self._loop)
        for task in link.tasks:
            if task is not me:
                task.cancel()
        for sock in (link.board, link.server):
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
        self._closed(link.connection, ended_by)

    def _closed(self, connection: Connection, ended_by: str) -> None:
        connection.ended_by = ended_by
        connection.closed = time.monotonic()

    async def _end_all(self) -> None:
        for link in list(self._links):
            self._drop(link, "proxy")
            _reset(link.board)
            _reset(link.server)
        for task in list(self._tasks):
            task.cancel()
        for sock in self._leftover:
            self._loop.remove_reader(sock.fileno())
            _reset(sock)
        self._leftover.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
