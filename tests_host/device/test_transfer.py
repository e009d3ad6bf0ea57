"""One HTTP answer on the real `requests`: what is accepted, refused, tried again."""

import sys

from doubles import requests_0_9_1, requests_0_10_2, requests_1_1_1
from webserver import Transfer, WebNetwork, answer

from ivota import OtaError, once, tls_client
from ivota import http_request as transfer_module
from ivota.firmware_offer import Push
from ivota.result_codes import EXPIRED, FAILED, MISMATCH, NOT_FOUND, TIMED_OUT
from ivota.url import follow, split_url
from support import patched, raises

SIZE = 1000
BODY = bytes(i & 0xFF for i in range(SIZE))
HTTP = {
    "ca": None,
    "cert": None,
    "key": None,
    "authorization": None,
    "timeout_s": 10,
    "deadline_s": 60,
}
URL = "http://h:8000/f.bin?sign=a%20b"


def push(url=URL):
    return Push("0.2", url, "0" * 32, SIZE)


def part(offset=0, **fields):
    """The 206 of a good server."""
    fields.setdefault("Content_Range", "bytes %d-%d/%d" % (offset, SIZE - 1, SIZE))
    return answer("206 Partial Content", BODY[offset:], **fields)


def following(transfer, push, *args):
    """What redirects lead to, as `transfer.step` follows them."""
    for _ in range(5):
        if not transfer.url:
            return transfer
        transfer = Transfer(push, *args, to=transfer.url)
    raise OtaError(TIMED_OUT, "too many redirects", True)


def get(network, offset=0, etag=None, url=URL, http=HTTP):
    with network:
        transfer = following(
            Transfer(push(url), offset, http, etag), push(url), offset, http, etag
        )
        transfer.rest = transfer.stream.raw.out
        transfer.close()
        return transfer


def refusal(made, offset=0, etag=None, url=URL, http=HTTP):
    """The `OtaError` that an answer ends in; whatever was opened is closed."""
    network = made if isinstance(made, WebNetwork) else WebNetwork(made)
    with raises(OtaError) as caught:
        get(network, offset, etag, url, http)
    assert all(sock.closed for sock in network.sockets)
    return caught.value


def test_the_request():
    network = WebNetwork(part(5))
    get(network, 5)
    where, request = network.requests[0]
    assert where == ("h", 8000)
    lines = request.split(b"\r\n")
    assert lines[0].startswith(b"GET /f.bin?sign=a%20b HTTP/1.")
    assert b"Range: bytes=5-" in lines
    assert [line for line in lines if line.lower().startswith(b"host: h")]
    assert not [line for line in lines if line.lower().startswith(b"if-range")]
    assert len(network.sockets) == 1


def test_206_from_the_offset():
    for offset in (0, 1, 999):
        transfer = get(WebNetwork(part(offset)), offset)
        assert transfer.skip == 0
        assert transfer.rest == BODY[offset:]


def test_200_is_taken_from_its_start():
    # The server ignored Range: the prefix is skipped, never appended.
    transfer = get(WebNetwork(answer("200 OK", BODY)), 400)
    assert transfer.skip == 400
    assert transfer.rest == BODY
    assert get(WebNetwork(answer("200 OK", BODY)), 0).skip == 0


def test_200_without_a_length():
    transfer = get(WebNetwork(answer("200 OK", BODY, Content_Length=None)), 0)
    assert transfer.rest == BODY


def test_206_without_a_length():
    assert get(WebNetwork(part(10, Content_Length=None)), 10).rest == BODY[10:]


def test_header_names_in_any_case():
    made = part(10).replace(b"Content-Range", b"cOnTeNT-rANGE")
    assert get(WebNetwork(made), 10).rest == BODY[10:]
    made = part(10).replace(b"Content-Range: ", b"content-range:")
    assert get(WebNetwork(made), 10).rest == BODY[10:]


def test_206_that_begins_before_the_offset_or_names_no_total():
    for value, skip in (
        ("bytes 10-999/*", 0),
        ("Bytes 10-999/1000", 0),
        ("bytes 10-400/1000", 0),
        ("bytes 7-999/1000", 3),
        ("bytes 0-999/1000", 10),
    ):
        made = get(WebNetwork(part(10 - skip, Content_Range=value)), 10)
        assert made.skip == skip and made.rest == BODY[10 - skip :], value


def test_206_from_elsewhere():
    for value in (
        "bytes 1-9/1000",
        "bytes 11-999/1000",
        "bytes */1000",
        "items 10-999/1000",
        "",
        "bytes",
        "bytes 10-999",
        "10-999/1000",
        "bytes x-y/z",
        "bytes 10-999/-1000",
        "bytes 10-999/1_000",
        "bytes +10-999/1000",
        "bytes 10-999/1000/1000",
        None,
    ):
        error = refusal(part(10, Content_Range=value), 10)
        assert error.code == TIMED_OUT and error.again, value
        assert error.message == "HTTP 206 has range '%s', but 10- was requested" % (value or "")


def test_another_total_is_a_mismatch():
    for made in (
        part(0, Content_Range="bytes 0-999/1001"),
        part(0, Content_Range="bytes 0-998/999"),
        answer("200 OK", BODY + b"x"),
        answer("200 OK", BODY[:-1]),
        answer("200 OK", b"", Content_Length=10**12),
        answer("200 OK", b""),
    ):
        error = refusal(made)
        assert error.code == MISMATCH and not error.again
        assert "1000" in error.message
    # In the middle another try may reach the right file, and what has come is not lost.
    error = refusal(part(10, Content_Range="bytes 10-999/1001"), 10)
    assert (error.code, error.again) == (TIMED_OUT, True) and "1001" in error.message


def test_a_206_of_fewer_bytes_is_begun():
    # Content-Range says where they belong; what is missing is asked for in the next request.
    for length in (5, 2000, "x"):
        assert get(WebNetwork(part(10, Content_Length=length)), 10).rest == BODY[10:]


def test_lengths_that_are_no_numbers():
    for value in ("x", "1e3", "1000, 1001", "-1000", "+1000", "1_000"):
        error = refusal(answer("200 OK", BODY, Content_Length=value))
        assert error.code == TIMED_OUT and error.again
        assert error.message == "the response has an invalid length"


def test_a_wrong_200_in_the_middle_is_another_try():
    # A login page answers whatever is asked, and may be gone the next time.
    for fields in (
        {"Content_Type": "application/json"},
        {"Content_Type": "application/octet-stream"},
        {"ETag": '"b"'},
    ):
        error = refusal(answer("200 OK", b'{"login": true}', **fields), 10, '"a"')
        assert (error.code, error.again) == (TIMED_OUT, True)
        assert error.message == "the server's file has 15 bytes, but the push says 1000"
    # At the start nothing is lost by it, but what is no firmware is not the end.
    for kind in ("application/json", "application/problem+json", "Application/XML"):
        assert refusal(answer("200 OK", b"{}", Content_Type=kind)).again
        error = refusal(answer("200 OK", b"{}", Content_Type=kind, Content_Length=None))
        assert error.again and "web page" in error.message


def test_statuses():
    for status, code, again in (
        (400, TIMED_OUT, True),
        (401, EXPIRED, False),
        (403, EXPIRED, False),
        (404, NOT_FOUND, False),
        (408, TIMED_OUT, True),
        (410, NOT_FOUND, False),
        (429, TIMED_OUT, True),
        (500, TIMED_OUT, True),
        (502, TIMED_OUT, True),
        (503, TIMED_OUT, True),
        (201, TIMED_OUT, True),
        (204, TIMED_OUT, True),
        (304, TIMED_OUT, True),
    ):
        error = refusal(answer("%d What" % status, b"an error page"))
        assert (error.code, error.again) == (code, again), status
        assert str(status) in error.message


def test_416_is_for_what_is_on_flash():
    made = answer("416 Range Not Satisfiable", Content_Range="bytes */500")
    error = refusal(made, 700)
    assert (error.code, error.again) == (MISMATCH, True)
    # All of it was asked for: the server is confused, and may be right again.
    error = refusal(made, 0)
    assert (error.code, error.again) == (TIMED_OUT, True)


def test_retry_after():
    for value, expected in (
        ("120", 120),
        ("0", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("-5", 0),
        ("1.5", 0),
        ("", 0),
        (None, 0),
        ("9" * 50, 10**50 - 1),
    ):
        error = refusal(answer("503 Busy", Retry_After=value))
        assert error.after_s == expected and error.again


def test_retry_after_as_a_date_counts_from_the_answers_own():
    for date, after, expected in (
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:05 GMT", 5),
        ("Wed, 21 Oct 2026 07:28:05 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("Thu, 31 Dec 2026 23:59:59 GMT", "Fri, 01 Jan 2027 00:00:01 GMT", 2),
        ("Sat, 28 Feb 2026 23:59:59 GMT", "Sun, 01 Mar 2026 00:00:00 GMT", 1),
        ("Tue, 29 Feb 2028 00:00:00 GMT", "Wed, 01 Mar 2028 00:00:00 GMT", 86400),
        ("Sun, 28 Feb 2100 00:00:00 GMT", "Mon, 01 Mar 2100 00:00:00 GMT", 86400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 2035 00:00:00 GMT", 2051222400),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wednesday, 21-Oct-26 07:28:05 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed Oct 21 07:28:05 2026", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Okt 2026 07:28:05 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, x Oct 2026 07:28:05 GMT", 0),
        ("now", "Wed, 21 Oct 2026 07:28:05 GMT", 0),
        ("", "Wed, 21 Oct 2026 07:28:05 GMT", 0),
    ):
        error = refusal(answer("503 Busy", Date=date, Retry_After=after))
        assert (error.message, error.after_s) == ("HTTP 503", expected), after


def test_a_captive_portal():
    page = b"<html>sign in</html>"
    for kind in ("text/html", "text/html; charset=utf-8", "Text/HTML"):
        error = refusal(answer("200 OK", page, Content_Type=kind))
        assert error.code == TIMED_OUT and error.again
        assert "web page" in error.message
    # Of the right length it is the firmware, from a server that calls everything a page.
    assert get(WebNetwork(answer("200 OK", BODY, Content_Type="text/html"))).rest == BODY


def test_encoded_answers():
    for fields in (
        {"Content_Encoding": "gzip"},
        {"Transfer_Encoding": "gzip, chunked"},
        {"Transfer_Encoding": "gzip"},
        {"Transfer_Encoding": "gzip\r\nTransfer-Encoding: chunked"},
    ):
        error = refusal(answer("200 OK", BODY, **fields))
        assert error.code == TIMED_OUT and error.again
        assert error.message == "the response is compressed"
    for fields in (
        {"Content_Encoding": "identity"},
        {"Content_Encoding": ""},
        {"Transfer_Encoding": "Identity"},
    ):
        assert get(WebNetwork(answer("200 OK", BODY, **fields))).rest == BODY


# Chunks


def chunked(*chunks, end=b"0\r\n\r\n", **fields):
    """A 206 of everything; each chunk is (its line, its data)."""
    body = b"".join(line + b"\r\n" + data + b"\r\n" for line, data in chunks) + end
    fields["Transfer_Encoding"] = "Chunked"
    return answer("206 Partial Content", body, Content_Range="bytes 0-999/1000", **fields)


def drained(network, size=SIZE):
    """(bytes, how often nothing was there), until the end of the body or `size` of them."""
    with network:
        made = Transfer(push(), 0, HTTP)
        buffer = bytearray(64)
        got = b""
        waits = 0
        while len(got) < size:
            n = made.stream.raw.readinto(buffer, min(64, size - len(got)))
            if n == 0:
                break
            waits += n is None
            assert waits < 10000
            got += buffer[: n or 0]
        made.close()
        assert network.sockets[0].closed
        return got, waits


def test_a_body_in_chunks():
    # A length beside it does not count (RFC 9112, 6.3).
    for made in (
        chunked((b"3e8", BODY)),
        chunked((b"3E8", BODY), Content_Length=7),
        chunked(*[(b"1", BODY[i : i + 1]) for i in range(SIZE)]),
        chunked((b"64;name=" + b"v" * 900, BODY[:100]), (b"0384", BODY[100:])),
        chunked((b"000000000000003e8 "[1:], BODY), end=b"0\r\nDigest: x\r\n\r\n"),
    ):
        assert drained(WebNetwork(made)) == (BODY, 0)


def test_chunks_that_arrive_bytewise():
    network = WebNetwork(chunked((b"64;x=y", BODY[:100]), (b"384", BODY[100:])))
    sock = network.socket
    whole = []

    def slow(*args):
        made = sock(*args)
        read = made.read

        def trickle(n):
            # Every other call finds nothing, each other one a byte: the head comes at once.
            if not whole and made.out[:4] != b"64;x":
                return read(n)
            whole.append(1)
            return read(1) if len(whole) % 2 else None

        made.read = trickle
        return made

    network.socket = slow
    got, waits = drained(network)
    assert got == BODY and waits > SIZE


def test_an_early_end_between_chunks():
    for end in (b"", b"0\r\n\r\n", b"5", b"5\r\n"):
        assert drained(WebNetwork(chunked((b"64", BODY[:100]), end=end)))[0] == BODY[:100]


def test_damaged_chunks():
    for end in (
        b"x\r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"5 5\r\n",
        b"1" * 17 + b"\r\n",
        b"5;" + b"x" * 2000,
    ):
        with raises(OtaError, "the response has invalid chunks") as caught:
            drained(WebNetwork(chunked((b"64", BODY[:100]), end=end)))
        assert caught.value.again and caught.value.code == TIMED_OUT, end
    with raises(OtaError, "invalid chunks"):  # a chunk that is longer than it says
        drained(WebNetwork(chunked((b"63", BODY[:100]))))


# ETag


def test_the_etag_is_kept_and_asked_for():
    transfer = get(WebNetwork(part(0, ETag='"a1"')))
    assert transfer.etag == '"a1"'
    network = WebNetwork(part(10, ETag='"a1"'))
    get(network, 10, '"a1"')
    assert b'\r\nIf-Range: "a1"\r\n' in network.requests[0][1]


def test_from_the_start_nothing_is_asked_for():
    network = WebNetwork(part(0, ETag='"b"'))
    assert get(network, 0, '"a"').etag == '"b"'
    assert b"If-Range" not in network.requests[0][1]


def test_another_etag_starts_afresh():
    for made in (
        part(10, ETag='"b"'),
        answer("200 OK", BODY, ETag='"b"'),
    ):
        error = refusal(made, 10, '"a"')
        assert (error.code, error.again) == (MISMATCH, True)


def test_200_with_the_same_etag_or_none_is_skipped_into():
    assert get(WebNetwork(answer("200 OK", BODY, ETag='"a"')), 10, '"a"').skip == 10
    assert get(WebNetwork(answer("200 OK", BODY)), 10, '"a"').skip == 10


def test_weak_and_odd_etags_are_not_kept():
    for etag in ('W/"a"', "a", "", '"' + "a" * 100 + '"', '"\xe4"', '"a\tb"'):
        assert get(WebNetwork(part(0, ETag=etag))).etag is None


# Redirects


def moved(place, status="302 Found"):
    return answer(status, b"elsewhere", Location=place)


def test_redirects_are_follow():
    for status in (300, 301, 302, 303, 307, 308):
        network = WebNetwork(moved("http://other:81/g?x=1", "%d Moved" % status), part(7))
        assert get(network, 7).rest == BODY[7:]
        assert network.requests[1][0] == ("other", 81)
        assert network.requests[1][1].startswith(b"GET /g?x=1 HTTP")
        assert b"Range: bytes=7-" in network.requests[1][1]
        assert network.sockets[0].closed


def test_a_relative_redirect():
    network = WebNetwork(moved("/g"), part())
    get(network)
    assert network.requests[1][0] == ("h", 8000)
    assert network.requests[1][1].startswith(b"GET /g HTTP")


def test_a_redirect_to_nowhere():
    # Not the cloud's doing: a portal that sends everyone to its page may be gone the next time.
    for place in ("ftp://h/", "javascript:x", "http://", "http://a@b/", "http://h:x/", "/a b", ""):
        assert refusal(moved(place)).again, place
    assert refusal(moved("/a\r\nLocation: /b")).again
    error = refusal(moved("https://portal/"))
    assert error.again and "http.ca" in error.message
    assert refusal(answer("302 Found")).again


def test_a_redirect_to_what_is_gone():
    for status, code in ((404, NOT_FOUND), (403, EXPIRED)):
        error = refusal(WebNetwork(moved("/g"), answer("%d What" % status)))
        assert (error.code, error.again) == (code, False)


def test_a_place_in_a_good_answer_is_not_follow():
    assert get(WebNetwork(part(0, Location="http://other/"))).rest == BODY


# TLS


class Tls:
    """Stands for `secure.wrap`."""

    def __init__(self):
        self.asked = []

    def __call__(self, raw, host, ca, _own):
        self.asked.append((host, ca))
        return raw


WITH_CA = dict(HTTP, ca="/ca.pem")


def test_https_is_verified_against_the_configured_ca():
    tls = Tls()
    with patched(tls_client, wrap=tls):
        network = WebNetwork(part())
        assert get(network, url="https://Host/f", http=WITH_CA).rest == BODY
    assert tls.asked == [("Host", "/ca.pem")]
    assert network.requests[0][0] == ("Host", 443)


def test_https_without_a_ca_fails_closed():
    network = WebNetwork(part())
    error = refusal(network, url="https://h/f")
    assert error.code == FAILED and "http.ca" in error.message
    assert network.sockets == []


def test_plain_http_is_not_wrapped():
    tls = Tls()
    with patched(tls_client, wrap=tls):
        get(WebNetwork(part()), http=WITH_CA)
    assert tls.asked == []


def test_never_from_https_to_http():
    tls = Tls()
    with patched(tls_client, wrap=tls):
        for place in ("http://h/f", "HTTP://h/f"):
            network = WebNetwork(moved(place), part())
            error = refusal(network, url="https://h/f", http=WITH_CA)
            assert error.code == TIMED_OUT and error.again and "https to http" in error.message
            assert len(network.requests) == 1


def test_from_https_to_https_and_from_http_to_https():
    tls = Tls()
    with patched(tls_client, wrap=tls):
        for url in ("https://h/f", "http://h/f"):
            for place in ("https://other/f", "HTTPS://other/f"):
                network = WebNetwork(moved(place), part())
                assert get(network, url=url, http=WITH_CA).rest == BODY
                assert tls.asked[-1] == ("other", "/ca.pem")
        network = WebNetwork(moved("/g"), part())
        get(network, url="https://h/f", http=WITH_CA)
        assert tls.asked[-1] == ("h", "/ca.pem")


# Servers that are broken or worse


def test_broken_answers():
    for made in (
        b"",
        b"\r\n",
        b"HTTP/1.1",
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"garbage\r\nmore\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1  302 Found\r\nLocation: http://other/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /" + b"a" * 4096 + b"\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-999/1000\r\nContent-",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2700,
    ):
        network = WebNetwork(made)
        error = refusal(network)
        assert error.code == TIMED_OUT and error.again, made
        # In words, and not those of an exception that something unforeseen has raised.
        assert " " in error.message and "Error" not in error.message, error.message
        assert [place for place, _ in network.requests] == [("h", 8000)], made


def test_a_silent_server_times_out():
    network = WebNetwork(None)
    start = network.clock.now_ms()
    error = refusal(network)
    assert network.clock.now_ms() - start == 10000
    assert error.code == TIMED_OUT and error.again and "ETIMEDOUT" in error.message


def test_unreachable_servers():
    network = WebNetwork(part())
    network.refuse = True
    error = refusal(network)
    assert error.code == TIMED_OUT and error.again
    network = WebNetwork(part())
    network.silent = True
    assert refusal(network).again


def test_an_unknown_host():
    network = WebNetwork(part())

    def missing(*_args):
        raise OSError(-2)

    network.getaddrinfo = missing
    error = refusal(network)
    assert error.code == TIMED_OUT and error.again


def test_an_early_end_is_the_end_of_the_stream_on_every_requests():
    # Some say nothing, some raise ValueError; the socket itself always says the same.
    for library in (requests_0_9_1, requests_0_10_2, requests_1_1_1):
        network = WebNetwork(part(100)[:-50])
        with patched(transfer_module, requests=library), network:
            made = Transfer(push(), 100, HTTP)
            buffer = bytearray(512)
            got = b""
            while True:
                n = made.stream.raw.readinto(buffer, 512)
                if not n:
                    break
                got += buffer[:n]
            assert n == 0 and got == BODY[100:-50]
            made.close()


# URLs


def test_urls():
    for url, expected in (
        ("http://h", (False, "h", 80, "/")),
        ("http://h/", (False, "h", 80, "/")),
        ("HTTP://h/a", (False, "h", 80, "/a")),
        ("https://h/a", (True, "h", 443, "/a")),
        ("HttpS://h:8443/a", (True, "h", 8443, "/a")),
        ("http://h:8000/a/b?c=d&e=%2F", (False, "h", 8000, "/a/b?c=d&e=%2F")),
        ("http://h?a=b", (False, "h", 80, "/?a=b")),
        ("http://h#part", (False, "h", 80, "/")),
        ("http://h/a#part", (False, "h", 80, "/a")),
        ("http://h/a?b=c#d", (False, "h", 80, "/a?b=c")),
        ("http://h:/a", (False, "h", 80, "/a")),
        ("http://h:65535/a", (False, "h", 65535, "/a")),
        ("http://10.0.0.1:1/a", (False, "10.0.0.1", 1, "/a")),
        ("http://h/a?b=http://c@d:e/", (False, "h", 80, "/a?b=http://c@d:e/")),
        ("http://h/a:b@c", (False, "h", 80, "/a:b@c")),
    ):
        assert split_url(url) == expected, url


def test_refused_urls():
    for url in (
        "",
        "h/a",
        "ftp://h/a",
        "file:///etc/passwd",
        "//h/a",
        "http:/h/a",
        "http:///a",
        "http://",
        "https://",
        "http://:80/a",
        "http://h:0/a",
        "http://h:65536/a",
        "http://h:-1/a",
        "http://h:8o/a",
        "http://h:80:80/a",
        "http://user:password@h/a",
        "http://user@h/a",
        "http://[::1]/a",
        "http://[::1]:80/a",
        "http://[fe80::1%25eth0]:80/a",
        "http://h/a b",
        "http://h/a\r\nX: y",
        "http://h/a\n",
        "http://h\r\n/a",
        "http://h/a\0",
        "http://h/\t",
        "http://h/ä",
        "http://ä/",
        "http://h/\x7f",
        " http://h/",
    ):
        with raises(OtaError, "URL") as caught:
            split_url(url)
        assert caught.value.code == FAILED and not caught.value.again, url
        assert "password" not in caught.value.message


def test_a_hostile_url_opens_no_connection():
    network = WebNetwork(part())
    assert refusal(network, url="http://h/a\r\nX: y").code == FAILED
    assert network.sockets == []


def test_where_relative_redirects_lead():
    url = "http://h:81/a/b/f.bin?x=1"
    assert follow(url, "g.bin?y=2") == "http://h:81/a/b/g.bin?y=2"
    assert follow(url, "/g.bin") == "http://h:81/g.bin"
    assert follow(url, "//other/g.bin#x") == "http://other:80/g.bin"
    assert follow(url, "?y=http://z/") == "http://h:81/a/b/f.bin?y=http://z/"
    for place, path in (
        ("../g.bin?y=../z", "/a/g.bin?y=../z"),
        ("./g.bin", "/a/b/g.bin"),
        ("../../../g/./h/..", "/g/"),
        ("/x/../g.bin", "/g.bin"),
        ("/..", "/"),
        ("..", "/a/"),
    ):
        assert follow(url, place) == "http://h:81" + path, place
    assert follow("https://h/f.bin", "g.bin") == "https://h:443/g.bin"
    for place in (
        "\0//other/../..//../",
        "/\r/../g.bin",
        "a b/../g.bin",
        "http:///g.bin",
        "//u@h/",
    ):
        with raises(OtaError) as caught:
            follow(url, place)
        assert caught.value.again and "invalid URL" in caught.value.message, place


def test_the_host_is_named_with_its_port_where_that_is_not_the_usual_one():
    for url, host in (("http://h/f", b"h"), ("http://h:80/f", b"h"), ("http://h:81/f", b"h:81")):
        network = WebNetwork(part())
        get(network, url=url)
        lines = network.requests[0][1].split(b"\r\n")
        assert [line for line in lines if line.startswith(b"Host:")] == [b"Host: " + host]


def test_requests_leaves_the_heap_with_it_unless_the_application_has_it():
    names = ("requests", "ivota.http_request")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        module = once("http_request")
        assert module.requests.request and "requests" not in sys.modules
        import requests

        assert once("http_request").requests is requests is sys.modules["requests"]
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
