"""Follow a Location: the first line of the input is the requested URL, the second the server's."""

from ivota import OtaError
from ivota.url import follow, split_url

reference = None  # the host that the host's library would contact next


def check(data):
    try:
        url, _, location = str(data, "utf-8").partition("\n")
        parts = split_url(url)
    except (OtaError, ValueError):
        return "no URL"
    try:
        led = follow(url, location.strip())
    except OtaError as error:
        assert error.code == -1 and error.again
        return "refused"
    assert not parts[0] or led[:6] == "https:"
    assert len(led) <= len(data) + 20
    secure, host, port, path = split_url(led)
    assert secure or not parts[0], "from https to http"
    assert all(32 < byte < 127 for byte in (host + path).encode())
    if reference:
        right = reference(url, location.strip())
        assert right in (None, host.lower()), (led, right)
    return "%s:%d" % (host, port)
