"""The URL of a push: unusual schemes, credentials, missing hosts, line ends."""

from urllib.parse import urlsplit

from ..target import Mistake, Target


def seeds() -> dict[str, bytes]:
    texts = {
        "good": "http://127.0.0.1:8000/f.bin?sign=a%20b",
        "good-tls": "https://example.com/files/7?expires=1&sign=x",
        "good-no-path": "HTTP://host?x=/y#z",
        "no-host": "http:///f.bin",
        "no-host-port": "http://:80/f.bin",
        "credentials": "http://user:secret@127.0.0.1/f.bin",
        "credentials-behind": "http://a:80@b/f",
        "at-in-the-path": "http://a/@b",
        "at-in-the-query": "http://a?x=@b:1",
        "ftp": "ftp://127.0.0.1/f.bin",
        "file": "file:///ivota.json",
        "javascript": "javascript://a/%0aalert(1)",
        "no-scheme": "//127.0.0.1/f",
        "scheme-alone": "http://",
        "empty": "",
        "crlf": "http://127.0.0.1/f.bin HTTP/1.0\r\nX: y",
        "crlf-in-the-host": "http://a\r\nHost: b/",
        "tab": "http://a/\tb",
        "nul": "http://a\0b/",
        "backslash": "http://a\\b/c\\@d",
        "port-zero": "http://a:0/",
        "port-large": "http://a:65536/",
        "port-huge": "http://a:" + "9" * 400 + "/",
        "port-signed": "http://a:+80/",
        "port-empty": "http://a:/x",
        "port-other-digits": "http://a:\u0661/",
        "brackets": "http://[::1]:80/",
        "not-ascii": "http://ex\u00e4mple/",
        "soft-hyphen": "http://a\u00adb/",
        "long": "http://a/" + "x" * 3000,
        "many-colons": "http://a:1:2:3/",
        "fragment": "http://a#@b/",
    }
    found = {name: text.encode() for name, text in texts.items()}
    found["surrogate"] = b"http://a/\xed\xa0\x80"
    found["not-utf8"] = b"http://\xff\xfe/"
    return found


def reference(url: str) -> tuple[str, int] | None:
    """Return host and port according to Python's library, or None if it rejects the URL."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower(), parts.port or (
            443 if parts.scheme == "https" else 80
        )
    except ValueError:
        return None


TARGET = Target(
    about="a push's URL",
    code=("lib/ivota/url.py",),
    seeds=seeds,
    reference=reference,
    words=("http://", "https://", "@", "://", ":65535", ":0", "#", "?", "\\r\\n", "%2f"),
    mistakes=(
        Mistake("accepts credentials", (("lib/ivota/url.py", '        or b"@" in host\n', ""),)),
        Mistake(
            "accepts a blank in the URL",
            (("lib/ivota/url.py", "min(url) <= 32", "min(url) < 32"),),
        ),
        Mistake("accepts any port", (("lib/ivota/url.py", " and 0 < int(port) < 65536", ""),)),
    ),
)
