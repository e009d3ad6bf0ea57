"""Start a watchdog of any length, if the port has one."""

import time

import machine
from micropython import const

_PERIOD_MS = const(1000)  # of the timer that extends a short one
_SHORT = const(8000)  # milliseconds: accepted by every port, the maximum of some


def feeder(seconds):
    """Return the function to call at least every `seconds`, or None without a watchdog."""
    limit_ms = int(seconds * 1000)
    for timeout in (limit_ms, _SHORT):
        try:
            feed = machine.WDT(timeout=timeout).feed
        except Exception:  # each port raises another error, and some ports have no watchdog
            continue
        return feed if timeout >= limit_ms else Stretched(feed, limit_ms).feed
    return None


class Stretched:
    """A short watchdog that a timer feeds until `feed` was not called for `limit_ms`.

    If Python hangs, the timer still runs and checks the time; if the port hangs, the timer stops,
    too.
    """

    def __init__(self, feed, limit_ms):
        self._feed = feed
        self._limit_ms = limit_ms
        self.feed()
        for number in (-1, 0):  # some ports have only numbered timers
            try:
                # Keep a reference: some ports stop a timer that nothing refers to.
                self._timer = machine.Timer(number, period=_PERIOD_MS, callback=self._tick)
                break
            except Exception:
                pass

    def feed(self):
        """Report that the program is alive."""
        self._fed = time.ticks_ms()
        self._feed()

    def _tick(self, _):
        if time.ticks_diff(time.ticks_ms(), self._fed) < self._limit_ms:
            self._feed()
