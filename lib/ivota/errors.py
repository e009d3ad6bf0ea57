"""The one error of an update, and errors in words."""

from micropython import const

_TIMED_OUT = const(-1)


class OtaError(Exception):
    """Why an update does not go on: `code` for the cloud (`codes`), `message` for a person.

    `again` says that the same request may succeed later; `after_s` is the server's wish for how
    much later, in seconds (0: none). `reject` says that the same firmware is not to be fetched
    again.
    """

    reject = False
    version = None  # of a push that can't be used, where one could be read

    def __init__(self, code, message, again=False, after_s=0):
        super().__init__(message)
        self.code = code
        self.message = message
        self.again = again
        self.after_s = after_s


def again(text, after_s=0):
    """The `OtaError` of what another try may overcome."""
    return OtaError(_TIMED_OUT, text, True, after_s)


def describe(error):
    """What went wrong in words, for a log or a report: one line of at most 120 characters."""
    if isinstance(error, OtaError):
        text = error.message
    else:
        text = "%s %s" % (type(error).__name__, error)
    return " ".join(text.split())[:120]


def line(event, fields):
    """An event of the log as one line of text."""
    return event + "".join(" %s=%s" % pair for pair in sorted(fields.items()))
