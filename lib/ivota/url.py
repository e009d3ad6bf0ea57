"""Parse URLs of pushes and redirects."""

from micropython import const

from ivota import OtaError, again

_FAILED = const(-5)


def split_url(url):
    """Split an http or https URL into (TLS, host, port, path with query).

    Raises `OtaError` for any other URL, one with credentials or without a host, or one with a
    character that would end the request line.
    """
    url = url.encode()  # short texts here, and single characters, would stay in the heap
    scheme, _, rest = url.partition(b"://")
    scheme = scheme.lower()
    secure = scheme == b"https"
    place = rest
    for mark in (b"/", b"?", b"#"):
        place = place.partition(mark)[0]
    host, _, port = place.partition(b":")
    if (
        not (secure or scheme == b"http")
        or min(url) <= 32
        or max(url) > 126
        or not host
        or b"@" in host
        or port
        and not (port.isdigit() and 0 < int(port) < 65536)
    ):
        raise OtaError(_FAILED, "the URL is not a valid http or https URL")
    path = rest[len(place) :].partition(b"#")[0].decode()
    if path[:1] != "/":
        path = "/" + path
    return secure, host.decode(), int(port) if port else (443 if secure else 80), path


def follow(url, location):
    """Resolve `location` against `url`; never from https to http.

    What the server sent is checked before its dots are resolved, which could remove a character
    that no URL may have. A later try may be redirected elsewhere: every refusal asks for one.
    """
    secure, host, port, path = split_url(url)
    scheme = "https:" if secure else "http:"
    if location[:2] == "//":
        location = scheme + location
    elif ":" not in location.split("?")[0].split("/")[0]:
        path = path.split("?")[0]
        if location[:1] == "?":
            location = path + location
        elif location[:1] != "/":
            location = path.rpartition("/")[0] + "/" + location
        location = "%s//%s:%d%s" % (scheme, host, port, location)
    try:
        stays_secure, host, port, path = split_url(location)
    except OtaError:
        raise again("a redirect to an invalid URL")
    if secure and not stays_secure:
        raise again("a redirect from https to http")
    scheme = "https" if stays_secure else "http"
    return "%s://%s:%d%s" % (scheme, host, port, _without_dots(path))


def _without_dots(path):
    """Resolve . and .. in a path, because some servers treat them as names (RFC 3986, 5.2.4)."""
    path, mark, query = path.partition("?")
    steps = []
    for step in path.split("/"):
        if step == "..":
            del steps[max(len(steps) - 1, 1) :]
        elif step != ".":
            steps.append(step)
    if step in (".", ".."):  # a folder's end
        steps.append("")
    return "/".join(steps) + mark + query
