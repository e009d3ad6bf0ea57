"""The Authorization header of a download: for the server that it was given for, and no other."""

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_MOST = const(1024)  # characters


def header(push, table, secure, host, port):
    """What is sent to this server, or None: the push's own, or the configuration's for its host.

    A push's is for the server that its URL names, wherever redirects lead. Raises `OtaError`.
    """
    if push and push.authorization:
        if not is_header(push.authorization):
            raise OtaError(_FAILED, "push: authorization can't be a header")
        if once("url").split_url(push.url)[:3] == (secure, host, port):
            return push.authorization
    if not table:
        return None
    return table.get("%s:%d" % (host, port)) or table.get(host)


def check(table, error):
    """Raise `error` unless it has a header's value for each host, "name" or "name:port"."""
    if not isinstance(table, dict):
        raise error("http.authorization must be an object with a text for each host")
    for host in table:
        if not is_header(table[host]):
            raise error("http.authorization: what is for %s can't be a header" % host)


def is_header(value):
    """Whether it is a text that stays on one line of a request."""
    if not isinstance(value, str) or not 0 < len(value) <= _MOST:
        return False
    data = value.encode()
    return min(data) >= 32 and max(data) < 127
