"""HTTP servers that are hostile or unusual; each handles a connection from its first byte."""

from __future__ import annotations

import itertools

from .server import FIRMWARE, Peer, Serve


def host_signed(peer: Peer) -> None:
    """Serve a pre-signed URL whose signature covers Host, as object storage does."""
    _, first = peer.request()
    if peer.host == f"127.0.0.1:{peer.port}":
        peer.partial(first)
        peer.send(FIRMWARE[first:])
    else:
        peer.head("HTTP/1.1 403 Forbidden", "Content-Length: 0", "")


def status_never(peer: Peer) -> None:
    peer.request()
    peer.hold()


def status_dripped(peer: Peer) -> None:
    peer.request()
    peer.drip(itertools.chain(b"HTTP/1.1 200 ", itertools.repeat(ord("O"))))


def field_dripped(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.drip(itertools.chain(b"X: ", itertools.repeat(ord("x"))))


def fields_endless(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.pour(b"X-More: and more\r\n" * 50)


def fields_slow(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.drip(itertools.cycle(b"X: y\r\n"), 0.1)


def field_long(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK", "X: " + "x" * 1_000_000)
    peer.partial(0)
    peer.send(FIRMWARE)


def body_stalls(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first : first + 700])
    peer.hold()


def body_dripped(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.drip(FIRMWARE[first:])


def body_short(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first:4500])


def body_pauses(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first : first + 700])
    if peer.pause(0.4):
        peer.send(FIRMWARE[first + 700 :])


def redirect(peer: Peer, location: str, field: str = "Location") -> None:
    peer.head("HTTP/1.1 302 Found", f"{field}: {location}", "")


def redirect_stalls(peer: Peer) -> None:
    path, _ = peer.request()
    if path == "/f":
        redirect(peer, f"http://127.0.0.1:{peer.port}/next")
    else:
        peer.hold()


def redirect_loops(peer: Peer) -> None:
    peer.request()
    if peer.pause(0.05):
        redirect(peer, f"http://127.0.0.1:{peer.port}/f")


def redirected(location: str, field: str = "Location") -> Serve:
    """Redirect to the file at /next; `location` contains {port} for the server's own."""

    def serve(peer: Peer) -> None:
        path, first = peer.request()
        if path == "/f":
            redirect(peer, location.format(port=peer.port), field)
        else:
            peer.partial(first)
            peer.send(FIRMWARE[first:])

    return serve


def chunked(field: str) -> Serve:
    def serve(peer: Peer) -> None:
        peer.request()
        peer.head("HTTP/1.1 200 OK", f"{field}: chunked", "")
        peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(FIRMWARE), FIRMWARE))

    return serve


def tls_dripped(peer: Peer) -> None:
    """Send a handshake record of 16 KiB slowly, but fast enough that no receive times out."""
    peer.send(b"\x16\x03\x03\x40\x00")
    peer.drip(itertools.chain(b"\x02\x00\x3f\xfc\x03\x03", itertools.repeat(0)))
