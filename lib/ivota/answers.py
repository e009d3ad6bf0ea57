"""What to make of an answer that is not the bytes that were asked for; seldom loaded."""

from micropython import const

from ivota import OtaError, again

_NOT_FOUND = const(-2)
_EXPIRED = const(-3)
_MISMATCH = const(-4)


def refusal(status, offset, after):
    """The `OtaError` of a status that is neither 200 nor 206; `after` is its Retry-After."""
    text = "HTTP %d" % status
    if status in (404, 410):
        return OtaError(_NOT_FOUND, text)
    if status in (401, 403):
        return OtaError(_EXPIRED, text)
    if status == 416 and offset:
        return OtaError(_MISMATCH, text, True)
    return again(text, int(after) if after.isdigit() else 0)


def follow(parts, location):
    """The absolute URL of a redirect from what `split_url` gave; never from https to http."""
    secure, host, port, path = parts
    scheme = "https:" if secure else "http:"
    if location[:2] == "//":
        location = scheme + location
    elif ":" not in location.split("?")[0].split("/")[0]:
        if location[:1] != "/":
            location = path.split("?")[0].rpartition("/")[0] + "/" + location
        location = "%s//%s:%d%s" % (scheme, host, port, location)
    if secure and location[:6].lower() != "https:":
        raise again("a redirect from https to http")
    return location
