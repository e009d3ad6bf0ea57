"""requests to the byte: the one frozen into the unix port, and doubles from 0.9.1 to 1.1.1.

Every test runs on every version; where they differ, DIFFERENCES says how. The traps that the
libraries hold are shown here, bare. On CPython the frozen one is the double of 0.10.0.
"""

import errno

import requests
from doubles import requests_0_9_1, requests_0_10_0, requests_0_10_2, requests_1_1_1
from doubles.fakesocket import CLOSED, Hang, Network

from support import installed, patched, raises

LIBRARIES = (requests, requests_0_9_1, requests_0_10_0, requests_0_10_2, requests_1_1_1)

VERSIONS = ("0.9.1", "0.10.0", "0.10.2", "1.1.1")
DIFFERENCES = (
    # what                                                0.9.1   0.10.0  0.10.2  1.1.1
    ("there is a timeout",                                (False, True,   True,   True)),
    ("HTTP/1.1 is spoken",                                (False, False,  False,  True)),
    ("the caller's headers are changed",                  (False, True,   False,  False)),
    ("a redirect goes to the first host by its name",     (False, True,   False,  False)),
    ("a second redirect is followed",                     (False, True,   True,   True)),
    ("a relative redirect is followed",                   (False, False,  False,  True)),
    ("header names are known in any case",                (False, False,  False,  True)),
    ("a body in chunks is read",                          (False, False,  False,  True)),
    ("an early end of the body is an error",              (False, False,  False,  True)),
    ("a response closes with its `with`",                 (False, False,  False,  True)),
)  # fmt: skip

OK = b"HTTP/1.0 200 OK\r\n\r\n"


def versions():
    """(library, what of DIFFERENCES is true of it) for each version."""
    for library in LIBRARIES:
        column = VERSIONS.index(library.__version__)
        yield library, {what: row[column] for what, row in DIFFERENCES}


def on(library, *scripts, port="unix"):
    """A new network, and what puts it into `library`: one script for each connection."""
    network = Network(*scripts, port=port)
    name = "socket" if hasattr(library, "socket") else "usocket"
    return network, patched(library, **{name: network})


def answer(*lines):
    return b"\r\n".join(lines) + b"\r\n\r\n"


def into(lines):
    """A header parser that only keeps what it is given."""
    return lambda line, fields: lines.append((line, fields))


def sent_lines(network, at=-1):
    """(request line, sorted header lines, what follows): MicroPython's dicts have no order."""
    head, body = network.sockets[at].sent.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    return lines[0], sorted(lines[1:]), body


# The request.


def test_get():
    for library, differs in versions():
        protocol = b"HTTP/1.1" if differs["HTTP/1.1 is spoken"] else b"HTTP/1.0"
        network, patch = on(library, [OK], [OK], [OK])
        with patch:
            library.get("http://host/a/b?c=d")
            assert network.lookups == [("host", 80)]
            assert sent_lines(network) == (
                b"GET /a/b?c=d " + protocol,
                [b"Connection: close", b"Host: host"],
                b"",
            )
            library.get("http://host:8080")
            assert network.lookups[1] == ("host", 8080)
            assert sent_lines(network)[0] == b"GET / " + protocol
            assert b"Host: host" in sent_lines(network)[1]  # without the port
            library.request("GET", "http://host/x", headers={"Range": "bytes=5-", "Host": "h:1"})
            assert sent_lines(network) == (
                b"GET /x " + protocol,
                [b"Connection: close", b"Host: h:1", b"Range: bytes=5-"],
                b"",
            )


def test_trap_the_callers_headers():
    for library, differs in versions():
        _, patch = on(library, [OK])
        with patch:
            headers = {"Range": "bytes=5-"}
            library.get("http://host/x", headers=headers)
            changed = {"Range": "bytes=5-", "Host": "host", "Connection": "close"}
            expected = changed if differs["the caller's headers are changed"] else None
            assert headers == (expected or {"Range": "bytes=5-"})


def test_other_methods_and_bodies():
    for library, _ in versions():
        network, patch = on(library, *[[OK]] * 7)
        with patch:
            for method in "head get put patch delete".split():
                getattr(library, method)("http://host/")
                assert sent_lines(network)[0].startswith(method.upper().encode() + b" / ")
            library.post("http://host/", data=b"body")
            assert sent_lines(network)[1:] == (
                [b"Connection: close", b"Content-Length: 4", b"Host: host"],
                b"body",
            )
            library.post("http://host/", json={"a": 1})
            assert sent_lines(network)[1:] == (
                [
                    b"Connection: close",
                    b"Content-Length: 8",
                    b"Content-Type: application/json",
                    b"Host: host",
                ],
                b'{"a": 1}',
            )


def test_a_body_in_chunks_and_a_sign_in():
    for library, differs in versions():
        if not differs["there is a timeout"]:
            continue
        network, patch = on(library, [OK])
        with patch:
            library.put("http://host/", data=(part for part in (b"ab", b"c")), auth=("u", "p"))
            assert sent_lines(network)[1:] == (
                [
                    b"Authorization: Basic dTpw",
                    b"Connection: close",
                    b"Host: host",
                    b"Transfer-Encoding: chunked",
                ],
                b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            )


def test_bad_urls():
    for library, _ in versions():
        network, patch = on(library)
        with patch:
            for url in ("ftp://host/", "host", "http:/host"):
                with raises(ValueError):
                    library.get(url)
            assert network.sockets == []


def test_marks_behind_the_host():
    _, patch = on(requests_1_1_1, [OK])
    with patch:
        network = requests_1_1_1.socket
        requests_1_1_1.get("http://host:81?a=b")
        assert network.lookups == [("host", 81)]
        assert sent_lines(network)[0] == b"GET /?a=b HTTP/1.1"


# The answer.


def test_an_answer():
    for library, _ in versions():
        head = answer(b"HTTP/1.1 206 Partial Content", b"Content-Length: 5", b"X-a:b:c ")
        network, patch = on(library, [head, b"hello", CLOSED])
        with patch:
            response = library.get("http://host/")
            assert response.status_code == 206
            assert response.reason == b"Partial Content"
            assert response.headers == {"Content-Length": "5", "X-a": "b:c"}
            assert not network.sockets[0].closed
            assert response.content == b"hello"
            assert network.sockets[0].closed
            assert response.content == b"hello"
            assert response.text == "hello"


def test_json():
    for library, _ in versions():
        _, patch = on(library, [OK, b'{"a": 1}', CLOSED])
        with patch:
            assert library.get("http://host/").json() == {"a": 1}


def test_close():
    for library, differs in versions():
        network, patch = on(library, [OK], [OK])
        with patch:
            response = library.get("http://host/")
            response.close()
            response.close()
            assert network.sockets[0].closed
            response = library.get("http://host/")
            closes = differs["a response closes with its `with`"]
            assert hasattr(response, "__exit__") == closes
            if closes:
                with response:
                    pass
                assert network.sockets[1].closed


def test_headers_may_be_left_alone():
    for library, _ in versions():
        head = answer(b"HTTP/1.0 200 OK", b"Content-Length: 5", b"no colon")
        network, patch = on(library, [head, b"hello", CLOSED])
        with patch:
            response = library.get("http://host/", parse_headers=False)
            assert not hasattr(response, "headers")
            assert response.raw is network.sockets[0]


def test_a_parser_of_ones_own_gets_the_socket_itself():
    for library, _ in versions():
        lines = []
        head = answer(b"HTTP/1.0 200 OK", b"Content-Length: 5", b"no colon")
        network, patch = on(library, [head, b"hel"])
        with patch:
            response = library.get("http://host/", parse_headers=into(lines))
            assert [line for line, _ in lines] == [b"Content-Length: 5\r\n", b"no colon\r\n"]
            assert all(fields is response.headers for _, fields in lines)
            assert response.headers == {}
            assert response.raw is network.sockets[0]
            buffer = bytearray(8)
            response.raw.setblocking(False)
            assert response.raw.readinto(buffer, 8) == 3
            assert response.raw.readinto(buffer, 8) is None


def test_an_oserror_in_the_parser_closes_and_is_passed_on():
    class Seen(OSError):
        pass

    def refuse(line, fields):
        raise Seen

    def fail(line, fields):
        raise KeyError

    for library, _ in versions():
        head = answer(b"HTTP/1.0 200 OK", b"A: b")
        network, patch = on(library, [head], [head])
        with patch:
            with raises(Seen):
                library.get("http://host/", parse_headers=refuse)
            assert network.sockets[0].closed
            with raises(KeyError):
                library.get("http://host/", parse_headers=fail)
            assert not network.sockets[1].closed  # only an OSError closes


def test_a_parser_sees_a_redirect_before_it_is_followed():
    class Seen(OSError):
        pass

    def refuse(line, fields):
        if line.lower().startswith(b"location:"):
            raise Seen

    for library, _ in versions():
        head = answer(b"HTTP/1.0 302 Found", b"Location: http://other/")
        network, patch = on(library, [head], [OK])
        with patch:
            if library is requests_0_9_1:
                # It follows at once: the parser never gets this line.
                assert library.get("http://host/", parse_headers=refuse).status_code == 200
                continue
            with raises(Seen):
                library.get("http://host/", parse_headers=refuse)
            assert len(network.sockets) == 1


def test_no_answer():
    for library, _ in versions():
        for line in (b"", b"HTTP/1.0\r\n"):
            network, patch = on(library, [line, CLOSED])
            with patch:
                old = library is requests_0_9_1
                with raises(IndexError if old else ValueError):
                    library.get("http://host/")
                assert not network.sockets[0].closed
        _, patch = on(library, [b"HTTP/1.0 abc\r\n", CLOSED])
        with patch:
            with raises(ValueError):
                library.get("http://host/")


def test_trap_headers_cut_short_are_taken_for_whole():
    for library, _ in versions():
        _, patch = on(library, [b"HTTP/1.0 200 OK\r\nA: b\r\n", CLOSED])
        with patch:
            response = library.get("http://host/")
            assert response.status_code == 200
            assert response.headers == {"A": "b"}


# The body.


def test_trap_an_early_end():
    for library, differs in versions():
        head = answer(b"HTTP/1.0 200 OK", b"Content-Length: 10")
        _, patch = on(library, [head, b"hello", CLOSED], [head, b"hello", CLOSED])
        with patch:
            raw = library.get("http://host/").raw
            buffer = bytearray(10)
            assert raw.readinto(buffer) == 5
            if differs["an early end of the body is an error"]:
                with raises(ValueError, "Connection closed before body complete"):
                    raw.readinto(buffer)
                with raises(ValueError):
                    assert library.get("http://host/").content
            else:
                assert raw.readinto(buffer) == 0
                assert library.get("http://host/").content == b"hello"


def test_a_body_of_known_length():
    for library, _ in versions():
        head = answer(b"HTTP/1.0 200 OK", b"content-length: 5")
        network, patch = on(library, [head, b"hello", b"more"])
        with patch:
            raw = library.get("http://host/").raw
            if library is not requests_1_1_1:
                assert raw is network.sockets[0]
                continue
            assert raw.read(2) == b"he"
            assert raw.read(9) == b"llo"
            assert raw.read(9) == b""
            assert raw.readinto(bytearray(4)) == 0
            with raises(TypeError):
                raw.readinto(bytearray(4), 2)  # MicroPython's streams take a count; this does not
            assert not hasattr(raw, "setblocking")


def test_trap_a_socket_that_does_not_block():
    head = answer(b"HTTP/1.0 200 OK", b"Content-Length: 5")
    for library, differs in versions():
        network, patch = on(library, [head, b"he"])
        with patch:
            response = library.get("http://host/")
            network.sockets[0].setblocking(False)
            assert response.raw.read(2) == b"he"
            if differs["an early end of the body is an error"]:
                with raises(ValueError):
                    response.raw.read(3)
            else:
                assert response.raw.read(3) is None


def test_a_body_in_chunks():
    for library, differs in versions():
        head = answer(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked")
        body = b"5;x=y\r\nhello\r\nA\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\n"
        network, patch = on(library, [head, body], [head, body], [head, b"5\r\nhel", CLOSED])
        with patch:
            if not differs["a body in chunks is read"]:
                # 0.9.1 joins text and bytes for its message.
                with raises(TypeError if library is requests_0_9_1 else ValueError):
                    library.get("http://host/")
                assert not network.sockets[0].closed
                continue
            assert library.get("http://host/").content == b"hello, chunked!"
            # With a parser of one's own too.
            raw = library.get("http://host/", parse_headers=lambda line, fields: None).raw
            assert raw is not network.sockets[1]
            assert raw.read(3) == b"hel"
            assert raw.read(99) == b"lo"
            assert raw.read(99) == b", chunked!"
            assert raw.read(99) == b""
            with raises(ValueError):
                assert library.get("http://host/").content


def test_trap_header_names_in_lower_case():
    for library, differs in versions():
        known = differs["header names are known in any case"]
        chunked = answer(b"HTTP/1.1 200 OK", b"transfer-encoding: chunked")
        redirect = answer(b"HTTP/1.1 302 Found", b"location: http://other/")
        _, patch = on(library, [chunked, b"5\r\nhello\r\n0\r\n\r\n", CLOSED], [redirect], [OK])
        with patch:
            content = library.get("http://host/").content
            assert content == (b"hello" if known else b"5\r\nhello\r\n0\r\n\r\n")
            assert library.get("http://host/").status_code == (200 if known else 302)


# Redirects.


def test_a_redirect():
    for library, differs in versions():
        head = answer(b"HTTP/1.0 302 Found", b"Location: http://other:8080/x?y=z")
        network, patch = on(library, [head], [OK, b"hello", CLOSED])
        with patch:
            response = library.get("http://host/", headers={"Range": "bytes=5-"})
            assert response.content == b"hello"
            assert network.lookups == [("host", 80), ("other", 8080)]
            wrong = differs["a redirect goes to the first host by its name"]
            assert (b"Host: host" if wrong else b"Host: other") in sent_lines(network)[1]
            assert b"Range: bytes=5-" in sent_lines(network)[1]
            assert network.sockets[0].closed == (library is not requests_0_9_1)


def test_a_redirect_of_a_post():
    for library, _ in versions():
        if library is requests_0_9_1:
            continue
        for status, again in ((b"303", b"GET"), (b"307", b"POST")):
            head = answer(b"HTTP/1.0 %s x" % status, b"Location: http://other/")
            network, patch = on(library, [head], [OK])
            with patch:
                library.post("http://host/", data=b"body")
                line, _, body = sent_lines(network)
                assert line.startswith(again)
                assert body == (b"body" if again == b"POST" else b"")


def test_trap_a_relative_redirect():
    for library, differs in versions():
        head = answer(b"HTTP/1.0 302 Found", b"Location: /x")
        network, patch = on(library, [head], [OK])
        with patch:
            if differs["a relative redirect is followed"]:
                library.get("http://host:81/")
                assert network.lookups == [("host", 81)] * 2
                assert sent_lines(network)[0].startswith(b"GET /x ")
            else:
                with raises(ValueError):
                    library.get("http://host:81/")


def test_trap_redirects_without_end():
    for library, differs in versions():
        head = answer(b"HTTP/1.0 302 Found", b"Location: http://host/")
        network, patch = on(library, *[[head]] * 12 + [[OK]])
        with patch:
            if differs["a second redirect is followed"]:
                assert library.get("http://host/").status_code == 200
                assert len(network.sockets) == 13
            else:
                with raises(ValueError, "Too many redirects"):
                    library.get("http://host/")
                assert len(network.sockets) == 2


def test_trap_a_redirect_drops_the_timeout_and_the_parser():
    for library, differs in versions():
        if not differs["there is a timeout"]:
            continue
        head = answer(b"HTTP/1.0 302 Found", b"Location: http://other/")
        lines = []
        network, patch = on(library, [head], [answer(b"HTTP/1.0 200 OK", b"A: b")], [head], [])
        with patch:
            library.get(
                "http://host/",
                timeout=5,
                auth=("u", "p"),
                parse_headers=into(lines),
            )
            assert network.sockets[0].timeouts == [5]
            assert network.sockets[1].timeouts == []
            assert lines == [(b"Location: http://other/\r\n", {})]
            # The header made of it goes to the other host, though.
            assert b"Authorization: Basic dTpw" in sent_lines(network)[1]
            with raises(Hang):
                library.get("http://host/", timeout=5)


def test_a_place_that_is_no_redirect():
    for library, _ in versions():
        head = answer(b"HTTP/1.0 404 Not Found", b"Location: http://other/")
        network, patch = on(library, [head])
        with patch:
            if library is requests_0_9_1:
                assert library.get("http://host/").status_code == 404
            else:
                with raises(NotImplementedError):
                    library.get("http://host/")
                assert not network.sockets[0].closed


# Time.


def test_timeouts():
    for library, differs in versions():
        network, patch = on(library, [], [])
        with patch:
            with raises(Hang):
                library.get("http://host/")
            assert network.sockets[0].timeouts == []
            if not differs["there is a timeout"]:
                with raises(TypeError):
                    library.get("http://host/", timeout=5)
                continue
            with raises(OSError) as caught:
                library.get("http://host/", timeout=5)
            assert caught.value.errno == errno.ETIMEDOUT
            assert network.sockets[1].timeouts == [5]
            assert network.sockets[1].closed


def test_trap_a_server_that_drips_trips_no_timeout():
    for library, differs in versions():
        if not differs["there is a timeout"]:
            continue
        drops = []
        for byte in b"HTTP/1.0 200 OK\r\nA: " + b"b" * 500 + b"\r\n\r\n":
            drops += [500, bytes([byte])]
        network, patch = on(library, drops)
        with patch:
            library.get("http://host/", timeout=1)
            assert network.clock.now_ms() > 250000


def test_trap_a_line_of_any_length():
    for library, _ in versions():
        network, patch = on(library, [b"HTTP/1.0 200 OK\r\nA: " + b"b" * 4000 + b"\r\n\r\n"])
        with patch:
            assert len(library.get("http://host/").headers["A"]) == 4000


def test_a_refused_connection():
    for library, _ in versions():
        network, patch = on(library, OSError(errno.ECONNREFUSED))
        with patch:
            with raises(OSError) as caught:
                library.get("http://host/")
            assert caught.value.errno == errno.ECONNREFUSED
            assert network.sockets[0].closed


# TLS.


class Tls:
    """Takes the place of `tls`; remembers what was asked of it."""

    PROTOCOL_TLS_CLIENT, CERT_NONE, CERT_REQUIRED = 0, 0, 2

    def __init__(self):
        self.contexts = []

    def SSLContext(self, protocol):
        self.contexts.append(TlsContext())
        return self.contexts[-1]


class TlsContext:
    verify_mode = 2

    def wrap_socket(self, sock, **options):
        self.options = options
        return sock


def test_trap_certificates_are_never_checked():
    for library, _ in versions():
        network, patch = on(library, [OK])
        with patch:
            if library is requests_0_9_1:
                with raises(ImportError, "ussl"):
                    library.get("https://host/")
                continue
            with installed("tls", Tls()) as tls:  # imported in the call, so it can be replaced
                library.get("https://host/")
            assert network.lookups == [("host", 443)]
            assert tls.contexts[0].verify_mode == tls.CERT_NONE
            assert tls.contexts[0].options == {"server_hostname": "host"}
