"""Parse a push's URL: the host that a board would contact, and the path it would request."""

from ivota import OtaError
from ivota.url import split_url

reference = None  # (host, port) according to the host's library


def check(data):
    try:
        url = str(data, "utf-8")
        found = split_url(url)
    except OtaError as error:
        assert error.code == -5 and not error.again
        assert "secret" not in error.message  # nor any other part of the URL
        return "refused"
    except ValueError:
        return "no text"
    sound(found)
    secure, host, port, _ = found
    assert url[:8].lower() == "https://" if secure else url[:7].lower() == "http://"
    if reference:
        assert reference(url) in (None, (host.lower(), port)), (url, reference(url))
    return "%s:%d" % (host, port)


def sound(found):
    """Check that no part can end a line or a word of the request, and that it names one host."""
    secure, host, port, path = found
    assert type(secure) is bool and 0 < port < 65536 and host and path[0] == "/"
    for text in (host, path):
        assert all(32 < byte < 127 for byte in text.encode())
    assert not any(mark in host for mark in "@/?#:") and "#" not in path
