"""Choose the Authorization header of a request, and never send it to another server."""

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_MOST = const(1024)  # characters


def header(push, table, secure, host, port):
    """Return the header for this server, or None. It comes from the push, or from the
    configuration's `table` of hosts.

    A push's header is only for the server in its URL, even after redirects. Raises `OtaError`.
    """
    if push and push.authorization:
        if not is_header(push.authorization):
            raise OtaError(_FAILED, "push: authorization is not a valid header")
        if once("url").split_url(push.url)[:3] == (secure, host, port):
            return push.authorization
    if not table:
        return None
    return table.get("%s:%d" % (host, port)) or table.get(host)


def check(table, error):
    """Raise `error` unless the configuration has a valid header for each host, "name" or
    "name:port".
    """
    if not isinstance(table, dict):
        raise error("http.authorization must be an object with a string for each host")
    for host in table:
        if not is_header(table[host]):
            raise error("http.authorization: the value for %s is not a valid header" % host)


def is_header(value):
    """Return whether `value` is a text that fits in one line of a request."""
    if not isinstance(value, str) or not 0 < len(value) <= _MOST:
        return False
    data = value.encode()
    return min(data) >= 32 and max(data) < 127
