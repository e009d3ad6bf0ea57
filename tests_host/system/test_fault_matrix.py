"""The fault matrix: whatever server and network do, a download ends right, or ends and says why.

Each case is a board with the real package, 32 and 64 bits wide, a real broker, a server that does
as it is told. What is asserted: the bytes on flash, the result code, each request's first byte,
the reports. Boards wait more than they work: all cases run at once, a few at a time.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from board_support import CALLBACK_MAIN, Gate, seen, settings, wait_noted
from certificates import Issued, issue
from faultserver import Exchange, Fault, FaultServer, good
from waiting import WAIT_S, wait_until
from wire import Wire, report_progress

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim import Board, Proxy
from ivota_tools.sim.flash import Fault as FlashFault

ROOT = Path(__file__).parents[2]
AT_ONCE = 8  # boards
SIZE = 20_000
DATA = Random(4).randbytes(SIZE)
OTHER = Random(5).randbytes(SIZE)
PAGE = b"<html>" + b"this is no firmware\n" * 1_500
HTML = "text/html; charset=utf-8"
PATH = "/firmware/0.2.bin"
TRIES = 3
FIRST = TRIES + 1  # requests until the budget is spent, none of which brought a block
RETRY = {"first_s": 0.05, "most_s": 0.2, "job_tries": TRIES}
SLOW = {"timeout_s": 1.5, "deadline_s": 1.5}  # for what is found out by waiting


class Bench:
    """One board and its end of the cloud, all that it needs, and its end."""

    def __init__(self, broker: Broker, folder: Path, bits: int, certificates: Issued) -> None:
        self._broker = broker
        self.folder = folder
        self._stack = ExitStack()
        self.authority, self.bits = certificates, bits
        self.wire = self._stack.enter_context(Wire(broker.port, folder.name))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def server(self, data: bytes = DATA, context: ssl.SSLContext | None = None) -> FaultServer:
        return self._stack.enter_context(FaultServer(data, context))

    def gate(self) -> Gate:
        return self._stack.enter_context(Gate())

    def proxy(self, port: int | None = None) -> Proxy:
        """A bad network in front of a port, or of the broker."""
        return self._stack.enter_context(Proxy("127.0.0.1", port or self._broker.port))

    def board(
        self,
        seed: int = 0,
        files: dict[str, bytes] | None = None,
        blocks: int = 512,
        port: int | None = None,
        **changes: Any,
    ) -> Board:
        """A board that runs; `seed`: the first bytes of DATA are on its flash already."""
        changes = {"retry": RETRY, **changes}
        files = dict(files or {})
        if seed:
            files[PATH] = DATA[:seed]
            files["/firmware/0.2.json"] = checkpoint(DATA)
        board = Board(
            self.folder,
            bits=self.bits,
            mpy=True,
            blocks=blocks,
            config=settings(self.wire.name, port or self._broker.port, **changes),
            files={"/main.py": CALLBACK_MAIN, **files},
        )
        self.device = self._stack.enter_context(board)
        board.install()
        board.power_on()
        self.wire.wait_version("0.1")
        return board

    def push(self, url: str, data: bytes = DATA) -> int:
        """Pushes 0.2; how many messages came before."""
        heard = len(self.wire.messages)
        self.wire.push("0.2", url, data)
        return heard

    def failed(self, code: str, after: int) -> str:
        """Waits for the failure that is reported, and returns its words."""
        said = self.wire.wait(
            lambda message: message.state in ("done", "fail"), "an end", after=after
        )
        text = str(said.json["report"]["progress"]["result_msg"])
        assert said.json == report_progress("fail", "0.2", code=code, message=text)
        assert said.qos == 1
        assert text.startswith("time_out: ") == (code == "-1"), text
        self.device.wait_log(f"app: failure {code} ")
        return text

    def done(self, data: bytes = DATA, after: int = 0, link: bool = True) -> None:
        """Waits for `done` and the new version; then the flash has these bytes and no others.

        Without a `link` all the time, what is said with QoS 0 may be lost.
        """
        wire = self.wire
        said = wire.wait(lambda message: message.state in ("done", "fail"), "an end", after=after)
        assert said.json == report_progress("done", "0.2"), said.json
        wire.wait_version("0.2", after=after)
        states = [message.state for message in wire.messages[after:] if message.qos]
        assert states[-3:] == ["burning", "done", None] and not any(states[:-3]), states
        percents = [message.percent for message in wire.of("downloading")]
        assert percents == sorted(percents) or len(wire.of("fail")) == 1
        assert percents[-1:] == [100] or not link
        self.device.stop()
        assert self.device.failure is None
        assert self.device.read(PATH) == data
        assert self.device.listdir("/firmware") == ["0.2.bin"]

    def left(self) -> bytes | None:
        """What is on flash of the firmware, None for nothing at all."""
        if not (found := self.device.listdir("/firmware")):
            return None
        assert found == ["0.2.bin", "0.2.json"]
        return self.device.read(PATH)


def checkpoint(data: bytes, **more: Any) -> bytes:
    return json.dumps(
        {
            "version": "0.2",
            "md5sum": hashlib.md5(data).hexdigest(),
            "file_size": len(data),
            "position": 0,
            **more,
        }
    ).encode()


# --- what a server does


def says(status: str, **more: str) -> Fault:
    """That status and an error page, long enough to be taken for firmware."""

    def fault(exchange: Exchange) -> None:
        headers = {"Content-Type": HTML, "Content-Length": str(len(PAGE))}
        headers.update({name.replace("_", "-"): value for name, value in more.items()})
        exchange.head(status, dict(headers))
        exchange.send(PAGE)

    return fault


def part(body: bytes | None = None, **more: str | None) -> Fault:
    return lambda exchange: exchange.part(body, **more)


def whole(body: bytes | None = None, **more: str | None) -> Fault:
    return lambda exchange: exchange.whole(body, **more)


def raw(data: bytes) -> Fault:
    return lambda exchange: exchange.send(data)


def some(size: int, then: Callable[[Exchange], object]) -> Fault:
    """The right header and `size` bytes of the body, all but the last where it is negative."""

    def fault(exchange: Exchange) -> None:
        rest = exchange.data[exchange.first :]
        exchange.part(rest[:size])
        then(exchange)

    return fault


def nothing(_: Exchange) -> None:
    """And the end of the stream."""


def stall_in_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 206 Partial Content\r\nContent-")
    exchange.hold()


def reset_in_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 206 Partial Content\r\nContent-")
    exchange.reset()


def drip(exchange: Exchange) -> None:
    """Byte by byte, long before any timeout of a single read."""
    exchange.part(b"")
    for byte in exchange.data[exchange.first :]:
        if exchange.hold(0.1):
            return
        exchange.send(bytes([byte]))


def from_another_start(by: int) -> Fault:
    def fault(exchange: Exchange) -> None:
        first = exchange.first + by
        total = len(exchange.data)
        exchange.part(
            exchange.data[first:],
            Content_Range=f"bytes {first}-{total - 1}/{total}",
            Content_Length=str(total - first),
        )

    return fault


def multipart(exchange: Exchange) -> None:
    first, total = exchange.first, len(exchange.data)
    body = b"--cut\r\nContent-Type: application/octet-stream\r\n"
    body += b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (first, total - 1, total)
    body += exchange.data[first:] + b"\r\n--cut--\r\n"
    exchange.part(
        body,
        Content_Type="multipart/byteranges; boundary=cut",
        Content_Range=None,
        Content_Length=str(len(body)),
    )


def chunked(exchange: Exchange) -> None:
    body = exchange.data[exchange.first :]
    exchange.part(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        Content_Length=None,
        Transfer_Encoding="chunked",
    )


def lower_case(exchange: Exchange) -> None:
    total = len(exchange.data)
    exchange.head(
        "206 partial content",
        {
            "content-length": str(total - exchange.first),
            "content-range": f"bytes {exchange.first}-{total - 1}/{total}",
        },
    )
    exchange.send(exchange.data[exchange.first :])


def moved(status: str, place: str) -> Fault:
    """A redirect to `place`, in which {port} check that the server's; from there all is well."""

    def fault(exchange: Exchange) -> None:
        if exchange.request.path == "/f.bin":
            says(status, Location=place.format(port=exchange.port))(exchange)
        else:
            good(exchange)

    return fault


def paced(rate: int) -> Fault:
    """So many bytes per second, sent sixteen times a second."""

    def fault(exchange: Exchange) -> None:
        exchange.part(b"")
        step = rate // 16
        for at in range(exchange.first, len(exchange.data), step):
            exchange.send(exchange.data[at : at + step])
            time.sleep(1 / 16)

    return fault


def in_turn(*faults: Fault) -> Fault:
    """One after the other, the last for ever."""
    left = itertools.chain(faults[:-1], itertools.repeat(faults[-1]))
    return lambda exchange: next(left)(exchange)


# --- the cases


@dataclass(frozen=True)
class Case:
    """`run(bench, case)` plays it. `fault` as the server does it; `seed` bytes are on flash first.

    `brings`: bytes of the firmware that come with each fault, None where that is not certain.
    `asks`: requests of one try. `code`: the failure in which it ends.
    """

    run: Callable[[Bench, Case], None]
    fault: Callable[[], Fault] = lambda: good
    brings: int | None = 0
    seed: int = 0
    asks: int = 1
    code: str = "-1"
    data: bytes = DATA
    config: dict[str, Any] = field(default_factory=dict)


def stands_then_heals(bench: Bench, case: Case) -> None:
    """For ever: `fail -1`. Pushed again it stands for two requests and heals: `done`."""
    server = bench.server()
    server.fail(case.fault())
    bench.board(case.seed, **case.config)
    heard = bench.push(server.url())
    bench.failed("-1", heard)
    at, asked = case.seed, server.asked
    assert len(asked) == FIRST * case.asks
    if case.brings is None:
        assert asked == sorted(asked) and asked[0] == at
        at = len(bench.left() or b"")
        assert asked[-1] <= at < 4096
    else:
        for number in range(0, len(asked), case.asks):
            assert asked[number : number + case.asks] == [at] * case.asks, asked
            at += case.brings
    # What came stays, for it is right; where nothing came nothing is left behind.
    assert bench.left() == (DATA[:at] or None)

    server.requests.clear()
    server.fail(case.fault(), 2 * case.asks)
    heard = bench.push(server.url())
    bench.done(after=heard)
    asked = server.asked
    assert len(asked) == 2 * case.asks + 1
    if case.brings is None:
        assert asked == sorted(asked) and asked[0] == at
    else:
        found = [*[at] * case.asks, *[at + case.brings] * case.asks, at + 2 * case.brings]
        assert asked == found
    assert len(bench.wire.of("fail")) == 1


def is_final(bench: Bench, case: Case) -> None:
    """One request, one failure, nothing left behind; the next push starts afresh."""
    server = bench.server(DATA)
    server.fail(case.fault(), 1)
    bench.board(case.seed, **case.config)
    heard = bench.push(server.url())
    text = bench.failed(case.code, heard)
    assert not text.startswith("time_out")
    assert server.asked == [case.seed]
    assert bench.left() is None
    heard = bench.push(server.url())
    bench.done(after=heard)
    assert server.asked == [case.seed, 0]
    assert len(bench.wire.of("fail")) == 1


def is_borne(bench: Bench, case: Case) -> None:
    """No fault at all: `done`, with as many requests as there must be."""
    server = bench.server(case.data)
    server.fail(case.fault())
    bench.board(case.seed, **case.config)
    heard = bench.push(server.url(), case.data)
    bench.done(case.data, heard)
    assert server.asked == [case.seed] * case.asks
    assert not bench.wire.of("fail")


def faulty(fault: Fault, brings: int | None = 0, **more: Any) -> Case:
    return Case(stands_then_heals, lambda: fault, brings, **more)


def final(code: str, fault: Fault, **more: Any) -> Case:
    return Case(is_final, lambda: fault, code=code, **more)


def borne(fault: Fault, **more: Any) -> Case:
    return Case(is_borne, lambda: fault, **more)


# --- cases with a course of their own


def the_last_byte(bench: Bench, case: Case) -> None:
    """Reset with one byte to go: only that one is asked for again."""
    server = bench.server()
    server.fail(some(-1, Exchange.reset))
    bench.board()
    heard = bench.push(server.url())
    bench.failed("-1", heard)
    assert server.asked == [0] + [SIZE - 1] * (FIRST - 1)
    assert bench.left() == DATA[:-1]
    server.requests.clear()
    server.fail(some(-1, Exchange.reset), 2)
    heard = bench.push(server.url())
    bench.done(after=heard)
    assert server.asked == [SIZE - 1] * 3


def range_not_satisfiable(bench: Bench, case: Case) -> None:
    """What is on flash is given up, once; then it is a fault like any other."""
    server = bench.server()
    fault = says("416 Range Not Satisfiable", Content_Range=f"bytes */{SIZE}")
    server.fail(fault)
    bench.board(9_000)
    heard = bench.push(server.url())
    assert "HTTP 416" in bench.failed("-1", heard)
    assert server.asked == [9_000] + [0] * FIRST
    assert bench.left() is None
    server.requests.clear()
    server.fail(in_turn(some(5_000, nothing), fault, fault), 3)
    heard = bench.push(server.url())
    bench.done(after=heard)
    assert server.asked == [0, 5_000, 0, 0]


def whole_on_flash(bench: Bench, case: Case) -> None:
    """Verified, and nothing is asked for."""
    server = bench.server()
    bench.board(SIZE)
    bench.done(after=bench.push(server.url()))
    assert server.asked == []
    assert [message.percent for message in bench.wire.of("downloading")] == [100]


def a_fresh_url(bench: Bench, case: Case) -> None:
    """The version is reported, which brings a fresh URL; it goes on at the same byte."""
    server = bench.server()
    server.fail(in_turn(some(9_000, nothing), says("403 Forbidden")), 2)
    bench.board()
    heard = bench.push(server.url("/old"))
    bench.wire.wait_version("0.1", after=heard)
    bench.done(after=bench.push(server.url("/fresh")))
    assert server.asked == [0, 9_000, 9_000]
    assert [request.path for request in server.requests] == ["/old", "/old", "/fresh"]
    assert not bench.wire.of("fail")


def no_fresh_url(bench: Bench, case: Case) -> None:
    """Refused, reported, pushed afresh, refused: -3; a later push of a good URL is taken."""
    server = bench.server()
    server.fail(case.fault(), 2)
    bench.board()
    heard = bench.push(server.url())
    bench.wire.wait_version("0.1", after=heard)
    assert server.asked == [0] and not bench.wire.of("fail")
    heard = bench.push(server.url("/fresh"))
    assert bench.failed("-3", heard).startswith("HTTP 40")
    assert server.asked == [0, 0]
    assert bench.left() is None
    bench.done(after=bench.push(server.url("/good")))
    assert server.asked == [0, 0, 0]


def retry_after(bench: Bench, case: Case) -> None:
    """Obeyed where it is longer than our own wait, up to `retry.most_s`.

    The server says no Date, from which a date would count.
    """
    server = bench.server()
    wishes = iter(("Fri, 31 Dec 2049 23:59:59 GMT", "1", "9999"))
    came: list[float] = []

    def busy(exchange: Exchange) -> None:
        came.append(time.monotonic())
        says("503 Busy", Retry_After=next(wishes))(exchange)

    server.fail(busy, 3)
    bench.board(retry={**RETRY, "most_s": 2})
    bench.done(after=bench.push(server.url()))
    assert server.asked == [0] * 4
    assert came[2] - came[1] >= 1
    assert time.monotonic() - came[2] >= 2


def redirect_to_plain(bench: Bench, case: Case) -> None:
    """From https to http nobody is followed: a fault like any other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = issue(bench.folder, "server", "localhost", bench.authority)
    context.load_cert_chain(issued.pem, issued.key_pem)
    plain, server = bench.server(), bench.server(context=context)
    fault = says("302 Found", Location=plain.url())
    server.fail(fault)
    bench.board(
        files={"/ca.der": bench.authority.der()},
        http={"ca": "/ca.der", "timeout_s": 20, "deadline_s": 30},
    )
    heard = bench.push(server.url())
    assert "https to http" in bench.failed("-1", heard)
    assert server.asked == [0] * FIRST
    assert bench.left() is None
    server.fail(fault, 2)
    bench.done(after=bench.push(server.url()))
    assert server.asked == [0] * (FIRST + 3)
    assert plain.requests == []


def new_content_with_etag(bench: Bench, case: Case) -> None:
    """The server has what was pushed only after the first request: old and new never mix."""
    server = bench.server(OTHER)
    old = DATA[:9_000]
    server.fail(
        in_turn(
            part(old, ETag='"old"'),
            whole(OTHER, ETag='"new"'),  # If-Range: another file, so all of it
            part(ETag='"new"'),
        )
    )
    bench.board()
    bench.done(OTHER, bench.push(server.url(), OTHER))
    assert server.asked == [0, 9_000, 0]
    assert [request.headers.get("if-range") for request in server.requests] == [
        None,
        '"old"',
        None,
    ]


def new_content_without_etag(bench: Bench, case: Case) -> None:
    """Nobody can know before the MD5 does: -4, nothing left, and the next push starts afresh."""
    server = bench.server(OTHER)
    server.fail(part(DATA[:9_000]), 1)
    bench.board()
    heard = bench.push(server.url(), OTHER)
    assert "MD5" in bench.failed("-4", heard)
    assert server.asked == [0, 9_000]
    assert bench.left() is None
    bench.done(OTHER, bench.push(server.url(), OTHER))
    assert server.asked == [0, 9_000, 0]


def refused(bench: Bench, case: Case) -> None:
    """No one listens there, for two tries and for ever."""
    server = bench.server()
    link = bench.proxy(server.port)
    link.refuse()
    gate = bench.gate()
    board = bench.board(files=gate.files)
    heard = bench.push(server.url(port=link.port))
    for _ in range(TRIES):
        with gate.held():
            pass
    bench.failed("-1", heard)
    retries = sum("retry" in line for line in board.log)
    assert retries == TRIES and server.asked == []
    assert bench.left() is None
    heard = bench.push(server.url(port=link.port))
    with gate.held():
        pass
    with gate.held():
        link.accept()
    bench.done(after=heard)
    assert server.asked == [0]


def no_such_name(bench: Bench, case: Case) -> None:
    """It heals by a push for the same firmware, with a name that is known."""
    server = bench.server()
    gate = bench.gate()
    bench.board(files=gate.files)
    nowhere = f"http://nowhere.invalid:{server.port}/f.bin"
    heard = bench.push(nowhere)
    for _ in range(TRIES):
        with gate.held():
            pass
    bench.failed("-1", heard)
    assert bench.left() is None
    heard = bench.push(nowhere)
    with gate.held():
        pass
    with gate.held():
        bench.wire.push("0.2", server.url(), DATA)
        gate.open()  # it may try the old name once more before it hears of the new one
    bench.done(after=heard)
    assert server.asked == [0]
    assert len(bench.wire.of("fail")) == 1


def silenced(bench: Bench, tries: int) -> tuple[FaultServer, Proxy, Proxy, Board, int]:
    """Both connections are silent, 9,000 bytes into a download, for which there are so many tries:
    the server, the proxies of broker and server, the board, and what was heard by then.
    """
    server = bench.server()
    broker, link = bench.proxy(), bench.proxy(server.port)
    server.fail(some(9_000, Exchange.hold), 1)
    config = {"http": SLOW, "retry": {**RETRY, "job_tries": tries}}
    board = bench.board(port=broker.port, mqtt={"keepalive_s": 2}, **config)
    heard = bench.push(server.url(port=link.port))
    link.wait_received(9_000)
    broker.stall()
    link.stall()
    return server, broker, link, board, heard


def link_down(bench: Bench, case: Case) -> None:
    """Both connections are silent for longer than the keep-alive."""
    server, broker, link, board, heard = silenced(bench, 100)
    board.wait_log("ivota: link_lost")
    board.wait_log("ivota: retry")
    link.resume()
    broker.resume()
    bench.done(after=heard, link=False)
    assert server.asked[:2] == [0, 9_000] and set(server.asked[1:]) == {9_000}
    assert not bench.wire.of("fail")


def link_down_for_ever(bench: Bench, case: Case) -> None:
    """The budget is spent while nobody can be told; told when the broker is there, once."""
    server, broker, link, board, heard = silenced(bench, TRIES)
    board.wait_log("app: failure -1 ")
    assert not bench.wire.of("fail")
    broker.resume()
    bench.failed("-1", heard)
    assert bench.left() == DATA[:9_000]
    link.resume()
    bench.done(after=bench.push(server.url(port=link.port)))
    assert server.asked[0] == 0 and set(server.asked[1:]) == {9_000}
    assert len(bench.wire.of("fail")) == 1


def flash_full(bench: Bench, case: Case) -> None:
    """Found before the first byte: nothing is asked for, and what would be needed is said."""
    server = bench.server(Random(6).randbytes(400_000))
    bench.board(blocks=120)
    heard = bench.push(server.url(), server.data)
    text = bench.failed("-5", heard)
    assert text.startswith("not enough space: ") and text.endswith(" KiB more needed")
    assert server.asked == []
    assert bench.left() is None


def flash_fills(bench: Bench, case: Case) -> None:
    """The application takes the room that there was; when it gives it back, all is well."""
    server = bench.server()
    board = bench.board(files={"/app.json": b'{"fills": true}'})
    heard = bench.push(server.url())
    assert "flash: OSError" in bench.failed("-5", heard)
    assert server.asked == [0]
    assert bench.left() is None
    wait_noted(board)
    board.power_cut()
    board.write("/app.json", b"{}")
    heard = len(bench.wire.messages)
    board.power_on()
    bench.wire.wait_version("0.1", after=heard)
    bench.done(after=bench.push(server.url()))
    assert server.asked == [0, 0]


def flash_fails(bench: Bench, case: Case) -> None:
    """Every write from the middle of the download on, until it is mended."""
    server = bench.server()
    armed = threading.Event()
    server.fail(some(9_000, lambda _: armed.wait(WAIT_S)), 1)
    board = bench.board(http={"timeout_s": WAIT_S, "deadline_s": WAIT_S})
    heard = bench.push(server.url())
    board.wait_log("ivota: download")
    wait_until(lambda: len(seen(board, PATH)) >= 8_000, "8,000 bytes on flash")
    board.arm(FlashFault("error", board.flash_counts()["operations"]))
    armed.set()
    board.wait_log("app: failure -5 flash: OSError")
    bench.failed("-5", heard)
    board.power_cut()
    assert board.flash
    board.flash.disarm()
    # What could not be removed is resumed like any download: the MD5 is of what is on flash.
    heard = len(bench.wire.messages)
    board.power_on()
    bench.wire.wait_version("0.1", after=heard)
    bench.done(after=bench.push(server.url()))
    assert server.asked[:2] == [0, 9_000] and len(server.asked) == 3
    assert server.asked[2] in (0, 8_188, 9_000)


CASES: dict[str, Case] = {
    "1 KiB/s": borne(
        paced(1024),
        data=Random(7).randbytes(65_536),
        config={"http": {"timeout_s": 10, "deadline_s": 10}},
    ),
    "stall in headers": faulty(stall_in_headers, config={"http": SLOW}),
    "stall in body": faulty(some(1_000, Exchange.hold), 1_000, config={"http": SLOW}),
    "a byte at a time": faulty(drip, None, config={"http": SLOW}),
    "reset in headers": faulty(reset_in_headers),
    "reset in body": faulty(some(1_000, Exchange.reset), 1_000),
    "reset at the last byte": Case(the_last_byte),
    "early close": faulty(some(1_000, nothing), 1_000),
    "early close of nothing": faulty(some(0, nothing)),
    "200 for a Range": borne(whole(), seed=9_000),
    "200 without a length": borne(whole(Content_Length=None), seed=9_000),
    "206 without a length": borne(part(Content_Length=None), seed=9_000),
    "206 from an earlier start": borne(from_another_start(-9_000), seed=9_000),
    "206 from a later start": faulty(from_another_start(1), seed=9_000),
    "206 without a range": faulty(part(Content_Range=None)),
    "206 of an unknown total": borne(part(Content_Range=f"bytes 0-{SIZE - 1}/*")),
    "another total": final("-4", part(Content_Range=f"bytes 0-{SIZE - 1}/{SIZE + 1}")),
    "multipart": faulty(multipart),
    "416": Case(range_not_satisfiable),
    "already complete": Case(whole_on_flash),
    "longer": final("-4", whole(DATA + b"more")),
    "longer part": faulty(part(Content_Range=f"bytes 9000-{SIZE + 3}/{SIZE + 4}"), seed=9_000),
    "shorter": final("-4", whole(DATA[:-1])),
    "wrong MD5": final("-4", part(OTHER)),
    "404": final("-2", says("404 Not Found")),
    "410": final("-2", says("410 Gone"), seed=9_000),
    "403 then a fresh URL": Case(a_fresh_url),
    "403 always": Case(no_fresh_url, lambda: says("403 Forbidden")),
    "401 always": Case(no_fresh_url, lambda: says("401 Unauthorized")),
    "500": faulty(says("500 Internal Server Error")),
    "429": faulty(says("429 Too Many Requests")),
    "400": faulty(says("400 Bad Request")),
    "503 with Retry-After": Case(retry_after),
    "redirect loop": faulty(says("302 Found", Location="/f.bin"), asks=6),
    "redirect without a place": faulty(says("302 Found")),
    "https to http": Case(redirect_to_plain),
    "chunked": borne(chunked, seed=9_000),
    "lower case": borne(lower_case),
    "gzip": faulty(part(Content_Encoding="gzip")),
    "new content with ETag": Case(new_content_with_etag),
    "new content without ETag": Case(new_content_without_etag),
    "portal": faulty(whole(PAGE, Content_Type=HTML)),
    "portal on a resume": faulty(whole(PAGE, Content_Type=HTML), seed=9_000),
    "portal of JSON on a resume": faulty(
        whole(b'{"login": true}', Content_Type="application/json"), seed=9_000
    ),
    "portal with a redirect": faulty(says("302 Found", Location="https://portal.invalid/")),
    "long policy": borne(part(Content_Security_Policy="x" * 3_600), seed=9_000),
    "long line": faulty(raw(b"HTTP/1.1 206 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n")),
    "many headers": faulty(raw(b"HTTP/1.1 206 OK\r\n" + b"X-Many: x\r\n" * 10_000 + b"\r\n")),
    "garbage": faulty(raw(bytes(range(256)) * 64)),
    "nothing at all": faulty(raw(b"")),
    "connection refused": Case(refused),
    "no such name": Case(no_such_name),
    "link down": Case(link_down),
    "link down for ever": Case(link_down_for_ever),
    "flash full": Case(flash_full),
    "flash fills": Case(flash_fills),
    "flash fails": Case(flash_fails),
}
for _status in ("301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"):
    CASES[_status[:3]] = borne(moved(_status, "http://127.0.0.1:{port}/there"), asks=2)
    CASES[f"{_status[:3]} relative"] = borne(moved(_status, "/there?a=b"), asks=2)


# --- all of them


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Bench]]:
    """Starts every test of this module that was asked for; gives the end of one of them."""
    folder = tmp_path_factory.mktemp("matrix")
    authority = issue(folder, "authority", "an authority")

    def run(number: int, name: str, bits: int) -> None:
        place = folder / f"m{number}"
        place.mkdir()
        with Bench(broker, place, bits, authority) as bench:
            try:
                CASES[name].run(bench, CASES[name])
            except Exception as error:
                error.args = ("\n".join([str(error), "--- board", *bench.device.log]),)
                raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        started: dict[str, Future[None]] = {}
        for number, item in enumerate(request.session.items):
            if item.path == request.path and hasattr(item, "callspec"):
                case = item.callspec.params
                started[item.name] = pool.submit(run, number, case["name"], case["bits"])
        yield lambda name: started[name].result()
        for each in started.values():
            each.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bits", (32, 64))
def test_fault(name, bits, running, request):
    running(request.node.name)


def test_each_row_of_the_protocol_names_its_tests() -> None:
    """And each case is in a row."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    chapter = page.split("\n## The server's answers\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|(?! answer )(?!-)(.*)\|$", chapter, re.M)
    tests = "".join(path.read_text() for path in (ROOT / "tests_host").glob("*/test_*.py"))
    cases = []
    assert len(rows) > 20
    for row in rows:
        *_, last = row.split(" | ")
        names = re.findall(r"`(\w+)(?:\[(.+?)\])?`", last)
        assert names, row
        for name, case in names:
            assert f"\ndef {name}(" in tests, name
            cases += [case] if name == "test_fault" else []
    assert sorted(cases) == sorted(CASES)
