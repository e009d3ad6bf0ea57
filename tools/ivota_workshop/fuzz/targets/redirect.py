"""A redirect's Location, which may be relative or hostile."""

from urllib.parse import urljoin, urlsplit

from ..target import Mistake, Target


def seeds() -> dict[str, bytes]:
    base = "https://h:8443/a/b?c=/d"
    texts = {
        "good": "https://other/f.bin",
        "good-absolute-path": "/f.bin?x=1",
        "good-relative": "f.bin",
        "good-two-slashes": "//other/f",
        "to-http": "http://other/f.bin",
        "to-http-in-capitals": "HTTP://other/f",
        "credentials": "https://u:p@other/",
        "other-scheme": "ftp://other/f",
        "three-slashes": "///other/f",
        "backslashes": "\\\\other\\f",
        "query-alone": "?x=http://evil/",
        "fragment-alone": "#x",
        "colon-in-a-name": "a:b",
        "colon-in-the-query": "f?x=a:b",
        "dots": "../../../f",
        "empty": "",
        "crlf": "/f\r\nX: y",
        "scheme-without-slashes": "https:f",
        "javascript": "javascript:alert(1)",
        "port": "//other:99999/",
        "nul": "/\0",
        "nul-before-a-host": "\0//other/../..//../",
        "tls-inside": "http://https:/",
    }
    found = {name: f"{base}\n{text}".encode() for name, text in texts.items()}
    found["good-plain"] = b"http://h/a\n//other/b"
    found["from-http-to-https"] = b"http://h/a\nhttps://other/b"
    found["not-utf8"] = b"http://h/a\n/\xff"
    return found


def reference(url: str, location: str) -> str | None:
    """Return the host according to Python's library, or None if it rejects one of the URLs."""
    try:
        return (urlsplit(urljoin(url, location)).hostname or "").lower()
    except ValueError:
        return None


TARGET = Target(
    about="a redirect's Location",
    code=("lib/ivota/url.py",),
    seeds=seeds,
    reference=reference,
    words=("http:", "https:", "HTTP:", "//", "://", "@", ":", "?", "#", ".."),
    mistakes=(
        Mistake(
            "follows https to http",
            (
                (
                    "lib/ivota/url.py",
                    "if secure and not stays_secure:",
                    "if False:",
                ),
            ),
        ),
        Mistake(
            "treats two slashes as a path",
            (("lib/ivota/url.py", 'if location[:2] == "//":', "if False:"),),
        ),
    ),
)
