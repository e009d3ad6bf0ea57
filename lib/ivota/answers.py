"""What to make of an answer that is not the bytes that were asked for; seldom loaded."""

from micropython import const

from ivota import OtaError, again

_NOT_FOUND = const(-2)
_EXPIRED = const(-3)
_MISMATCH = const(-4)
_MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


def refusal(status, offset, fields):
    """The `OtaError` of a status that is neither 200 nor 206, with the answer's header fields."""
    text = "HTTP %d" % status
    if status in (404, 410):
        return OtaError(_NOT_FOUND, text)
    if status in (401, 403):
        return OtaError(_EXPIRED, text)
    if status == 416 and offset:
        return OtaError(_MISMATCH, text, True)
    return again(text, _wait_s(fields["retry-after"], fields["date"]))


def _wait_s(after, date):
    """Seconds that a Retry-After asks for, 0 where it can't be read.

    It may be a date. That counts from the Date of the same answer, for a board may have no clock.
    """
    try:
        if after.isdigit():
            return int(after)
        return max(_seconds(after) - _seconds(date), 0)
    except ValueError:
        return 0


def _seconds(date):
    """Seconds from one and the same day on to an HTTP date: "Sun, 06 Nov 1994 08:49:37 GMT"."""
    _, day, month, year, clock, _ = date.encode().split()
    hours, minutes, seconds = clock.split(b":")
    # The year begins with March, so that a leap day is its last.
    month = _MONTHS.index(month) // 3 - 2
    year = int(year) + month // 12
    days = year * 365 + year // 4 - year // 100 + year // 400
    days += (month % 12 * 153 + 2) // 5 + int(day)
    return ((days * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)


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
