"""Status line, headers and redirects of an HTTP answer, before its first byte is used."""

from ..target import Bound, Mistake, Target

_PART = b"1HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-999/1000\r\n"


def _answer(status: str, *lines: str, asked: str = "0", body: str = "body") -> bytes:
    return "\r\n".join((f"{asked}HTTP/1.1 {status}", *lines, "", body)).encode()


def seeds() -> dict[str, bytes]:
    whole = "Content-Length: 1000"
    part = "Content-Range: bytes 10-999/1000"
    found = {
        "good": _answer("200 OK", whole),
        "good-part": _answer("206 Partial Content", part, "Content-Length: 990", asked="1"),
        "good-etag": _answer("206 Partial Content", part, 'ETag: "abc"', asked="2"),
        "good-redirect": _answer("302 Found", "Location: /other"),
        "good-0-9-1": _answer("206 Partial Content", part, asked="5"),
        "good-0-10-2": _answer("206 Partial Content", part, 'ETag: "abc"', asked="9"),
        "good-1-1-1": _answer("206 Partial Content", part, asked="="),
        "redirect-of-a-redirect": _answer("307 X", "Location: https://x/", asked="3"),
        "redirect-to-itself": _answer("301 X", "Location: http://h:8000/f.bin"),
        "redirect-0-9-1": _answer("302 Found", "Location: /other", asked="4"),
        "location-in-a-200": _answer("200 OK", whole, "Location: http://evil/"),
        "location-twice": _answer("302 Found", "Location: /a", "Location: http://evil/"),
        "location-empty": _answer("302 Found", "Location:"),
        "location-not-utf8": _answer("302 Found").replace(
            b"\r\n\r\n", b"\r\nLocation: \xff\r\n\r\n"
        ),
        "no-location": _answer("302 Found"),
        "another-range": _answer("206 X", "Content-Range: bytes 0-999/1000", asked="1"),
        "another-unit": _answer("206 X", "Content-Range: items 10-999/1000", asked="1"),
        "another-total": _answer("206 X", "Content-Range: bytes 10-999/1001", asked="1"),
        "total-star": _answer("206 X", "Content-Range: bytes 10-999/*", asked="1"),
        "total-negative": _answer("206 X", "Content-Range: bytes 10-999/-1000", asked="1"),
        "total-huge": _answer("206 X", f"Content-Range: bytes 10-999/{10**300}", asked="1"),
        "total-2-to-63": _answer("206 X", f"Content-Range: bytes 10-9/{2**63}", asked="1"),
        "total-underscore": _answer("206 X", "Content-Range: bytes 10-999/1_000", asked="1"),
        "range-twice": _answer("206 X", part, "Content-Range: bytes 0-1/2", asked="1"),
        "ranges": _answer("206 X", "Content-Type: multipart/byteranges; boundary=x", asked="1"),
        "another-etag": _answer("206 X", part, 'ETag: "def"', asked="2"),
        "etag-weak": _answer("206 X", part, 'ETag: W/"abc"', asked="1"),
        "etag-long": _answer("206 X", part, f'ETag: "{"x" * 900}"', asked="1"),
        "etag-nul": _answer("206 X", part, 'ETag: "a\0b"', asked="1"),
        "length-negative": _answer("200 OK", "Content-Length: -1000"),
        "length-none": _answer("200 OK"),
        "length-twice": _answer("200 OK", whole, "Content-Length: 5"),
        "length-no-number": _answer("200 OK", "Content-Length: x"),
        "length-other-digits": _answer("200 OK", "Content-Length: \u0661\u0660"),
        "chunked": _answer("200 OK", whole, "Transfer-Encoding: chunked"),
        "zipped": _answer("200 OK", whole, "Content-Encoding: gzip"),
        "web-page": _answer("200 OK", whole, "Content-Type: text/html; charset=x"),
        "gone": _answer("404 Not Found"),
        "forbidden": _answer("403 Forbidden"),
        "out-of-range": _answer("416 X", "Content-Range: bytes */1000", asked="1"),
        "retry-after": _answer("503 X", "Retry-After: 120"),
        "retry-after-huge": _answer("503 X", "Retry-After: " + "9" * 900),
        "retry-after-negative": _answer("429 X", "Retry-After: -1"),
        "retry-after-date": _answer("503 X", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
        "retry-after-dates": _answer(
            "503 X",
            "Date: Fri, 31 Dec 1999 23:59:59 GMT",
            "Retry-After: Sat, 01 Jan 2000 00:01:00 GMT",
        ),
        "retry-after-other-digits": _answer("503 X", "Retry-After: \u00b2"),
        "status-negative": _answer("-200 OK", whole),
        "status-fraction": _answer("200.0 OK", whole),
        "status-alone": b"0HTTP/1.1\r\n\r\n",
        "status-signed": _answer("+200 OK", whole),
        "no-http": b"0SSH-2.0-x\r\n",
        "continue": _answer("100 Continue", "", "HTTP/1.1 200 OK", whole),
        "nothing": b"0",
        "empty-lines": b"0" + b"\r\n" * 100,
        "line-long": b"0HTTP/1.1 200 OK\r\nX: " + b"x" * 2000,
        "many-lines": b"0HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        "no-colon": _answer("200 OK", whole, "nonsense"),
        "folded": _answer("206 X", "Content-Range:", " bytes 10-999/1000", asked="1"),
        "bare-newlines": _answer("200 OK", whole).replace(b"\r\n", b"\n"),
        "ends-early": b"0HTTP/1.1 200 OK\r\nContent-Len",
        "nul": _answer("200 OK", whole, "X\0: \0"),
    }
    return found


TARGET = Target(
    about="an HTTP answer: status, headers, Content-Range, Location, Retry-After",
    code=(
        "lib/ivota/http_request.py",
        "lib/ivota/response_check.py",
        "lib/ivota/http_status.py",
        "lib/ivota/guarded_socket.py",
    ),
    seeds=seeds,
    lines=Bound(20_000, 60),
    words=(
        "Content-Range: bytes ",
        "Content-Length: ",
        "Location: ",
        "Retry-After: ",
        "ETag: ",
        "Transfer-Encoding: ",
        "HTTP/1.1 206 X",
        "\r\n",
        "/1000",
    ),
    mistakes=(
        Mistake(
            "accepts any part",
            (
                (
                    "lib/ivota/response_check.py",
                    "or not int(first) <= offset <= int(last)",
                    "or False",
                ),
            ),
        ),
        Mistake(
            "accepts any length",
            (("lib/ivota/response_check.py", "and int(total) != size:", "and False:"),),
        ),
        Mistake(
            "treats any status as a part",
            (
                (
                    "lib/ivota/response_check.py",
                    "if status not in (200, 203, 206):",
                    "if status > 400:",
                ),
            ),
        ),
    ),
)
