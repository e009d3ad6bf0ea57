"""Decide what a status or a whole file means where a range of bytes was requested."""

from micropython import const

from ivota import OtaError, again

_NOT_FOUND = const(-2)
_EXPIRED = const(-3)
_MISMATCH = const(-4)
_BLOCK = const(4096)
_MONTHS = const(b"JanFebMarAprMayJunJulAugSepOctNovDec")


def refusal(status, offset, fields):
    """Return the `OtaError` for a status other than 200 and 206, with the response's headers."""
    text = "HTTP %d" % status
    if status in (404, 410):
        return OtaError(_NOT_FOUND, text)
    if status in (401, 403):
        return OtaError(_EXPIRED, text)
    if status == 416 and offset:
        return OtaError(_MISMATCH, text, True)
    return again(text, _wait_s(fields[b"retry-after"], fields[b"date"]))


def compare(kind, total, offset, size):
    """Raise `OtaError` unless a 200 with this Content-Type and Content-Length can be the whole
    file.

    A captive portal's page is not the file: a retry may reach the server. A page with the
    firmware's length is accepted: some servers send every file as text/html.
    """
    page = kind[:9] == b"text/html"
    other = page or b"json" in kind or b"xml" in kind
    if total and not total.isdigit():
        raise again("the response has an invalid length")
    if other and (page or not total) and total != b"%d" % size:
        raise again("the response is a web page, not the file")
    if total and int(total) != size:
        raise another_size(total, size, offset or other)


def another_size(total, size, may_pass):
    """Return the error for a file whose size differs from the size in the push.

    With `may_pass`, in the middle of a download, the response came from another server: the
    received bytes stay, and a retry may get the rest.
    """
    text = "the server's file has %s bytes, but the push says %d" % (total.decode(), size)
    return again(text) if may_pass else OtaError(_MISMATCH, text)


def skip(job):
    """Drop up to a block of the bytes before the offset, if the server ignored Range.

    Returns the same as a target's `receive`.
    """
    buffer = job.target.buffer
    left = min(job.skip, _BLOCK)
    n = 1
    while left:
        n = job.response.raw.readinto(buffer, min(left, len(buffer)))
        if not n:
            break
        job.skip -= n
        left -= n
    return n


def _wait_s(after, date):
    """Return the seconds of a Retry-After, 0 if it is not valid.

    It can be a date, which counts from the Date of the same response, because a board may have no
    clock.
    """
    try:
        if after.isdigit():
            return int(after)
        return max(_seconds(after) - _seconds(date), 0)
    except ValueError:
        return 0


def _seconds(date):
    """Return the seconds from a fixed day to an HTTP date: "Sun, 06 Nov 1994 08:49:37 GMT"."""
    _, day, month, year, clock, _ = date.split()
    hours, minutes, seconds = clock.split(b":")
    # Years begin in March here, so that a leap day is the last day.
    month = _MONTHS.index(month) // 3 - 2
    year = int(year) + month // 12
    days = year * 365 + year // 4 - year // 100 + year // 400
    days += (month % 12 * 153 + 2) // 5 + int(day)
    return ((days * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
