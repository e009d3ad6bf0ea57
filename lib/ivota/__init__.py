"""Firmware updates that finish on bad networks and survive power cuts.

Here is what every part of the package uses, in one module, for each one has its price in heap:
loading on demand, errors in words, and back-off.
"""

import gc
import random
import sys
import time

from micropython import const

__version__ = "0.1.0"

_TIMED_OUT = const(-1)


def once(name):
    """Import `ivota.<name>` for one use: it leaves the heap when nothing of it is in use.

    One that was imported before stays.
    """
    gc.collect()  # what comes to stay should lie close together
    path = __name__ + "." + name
    known = path in sys.modules
    module = __import__(path, None, None, ("*",))
    if not known:
        del sys.modules[path]
        globals().pop(name, None)
    return module


class OtaError(Exception):
    """Why an update does not go on: `code` for the cloud (`result_codes`), `message` for a person.

    `again` says that the same request may succeed later; `after_s` is the server's wish for how
    much later, in seconds (0: none). `reject` says that the same firmware is not to be fetched
    again.
    """

    version = None  # of a push that can't be used, where one could be read

    def __init__(self, code, message, again=False, after_s=0, reject=False):
        super().__init__(message)
        self.code = code
        self.message = message
        self.again = again
        self.after_s = after_s
        self.reject = reject


def again(text, after_s=0):
    """The `OtaError` of what another try may overcome."""
    return OtaError(_TIMED_OUT, text, True, after_s)


def describe(error):
    """What went wrong in words, for a log or a report: one line of at most 120 characters."""
    if isinstance(error, OtaError):
        text = error.message
    else:
        text = type(error).__name__ + " " + str(error)
        if isinstance(error, OSError):
            try:
                text = once("network_errors").words(error) or text
            except (MemoryError, ImportError):  # the number has to do
                pass
    return " ".join(text.split())[:120]


def line(event, fields):
    """An event of the log as one line of text."""
    return event + "".join(" %s=%s" % pair for pair in sorted(fields.items()))


class Backoff:
    """When to try again: waits that double from `first_s` up to `most_s`, in seconds.

    Each wait is drawn from its upper half, so that ten thousand boards that lost the same
    broker do not come back in the same second.
    """

    def __init__(self, first_s, most_s):
        self.first_s = first_s
        self.most_s = most_s
        self.tries = 0
        self._start = time.ticks_ms()
        self._wait_ms = 0

    def reset(self):
        """Forget the failures: something worked."""
        self.tries = 0
        self._wait_ms = 0

    def failed(self, least_s=0):
        """Count a failure and start the next wait, of at least `least_s` (itself capped)."""
        wait_ms = int(min(self.first_s * (1 << min(self.tries, 20)), self.most_s) * 500)
        self.tries += 1
        wait_ms += wait_ms * random.getrandbits(8) >> 8
        self.rest(max(wait_ms, int(min(least_s, self.most_s) * 1000)))

    def rest(self, wait_ms):
        """Be due only in `wait_ms` milliseconds, or in three days: ticks can't tell much more."""
        self._start = time.ticks_ms()
        self._wait_ms = min(wait_ms, 1 << 28)

    def left_ms(self):
        """Milliseconds until the next try is due, 0 once it is."""
        # A start of days ago must not be looked at: ticks come round.
        if self._wait_ms:
            left = self._wait_ms - time.ticks_diff(time.ticks_ms(), self._start)
            if left > 0:
                return left
            self._wait_ms = 0
        return 0
