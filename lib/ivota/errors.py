"""The one error of an update, and the cloud's result codes (docs/protocol.md)."""

from micropython import const

TIMED_OUT = const(-1)  # the retry budget is spent: no route, stalls, resets, 5xx
NOT_FOUND = const(-2)  # 404, 410
EXPIRED = const(-3)  # 401, 403, after one fresh push did not help
MISMATCH = const(-4)  # the finished file's MD5 or length differs from the push
FAILED = const(-5)  # everything after the download, and a board that cannot take it


class OtaError(Exception):
    """Why an update does not go on: `code` for the cloud, `message` for a person.

    `again` says that the same request may succeed later; `after_s` is the server's wish for how
    much later, in seconds (0: none). `version` names the firmware of a push that can't be used.
    """

    def __init__(self, code, message, again=False, after_s=0, version=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.again = again
        self.after_s = after_s
        self.version = version


class Afresh(OtaError):
    """What lies on flash is not the beginning of what the server has now."""


class ConfigError(ValueError):
    """The configuration can't be used; the text names the key and what it should be."""


def describe(error):
    """What went wrong in words, for a log or a report: one line of at most 120 characters."""
    if isinstance(error, OtaError):
        text = error.message
    else:
        text = "%s %s" % (type(error).__name__, error)
    return " ".join(text.split())[:120]
