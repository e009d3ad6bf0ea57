"""A watchdog of any length, where the port has one."""

import time

import machine

# Milliseconds: what every port takes, of which some take no more; and how often it is fed then.
_SHORT = 8000
_PERIOD = 1000


def feeder(seconds):
    """What is to be called at least every `seconds`, or the board resets; None without one."""
    for timeout in (int(seconds * 1000), _SHORT):
        try:
            feed = machine.WDT(timeout=timeout).feed
        except Exception:  # each port refuses in its own way, and some have none
            continue
        return feed if timeout >= seconds * 1000 else _Stretched(feed, seconds).feed
    return None


class _Stretched:
    """A short watchdog that a timer feeds until `feed` was not called for so long.

    Python that hangs keeps the timer running, but no longer this from seeing the time; a port
    that hangs altogether stops the timer too.
    """

    def __init__(self, feed, seconds):
        self._feed = feed
        self._limit_ms = int(seconds * 1000)
        self.feed()
        for number in (-1, 0):  # some ports have only numbered timers
            try:
                # Held, for some ports stop a timer that nothing refers to.
                self._timer = machine.Timer(number, period=_PERIOD, callback=self._tick)
                break
            except Exception:
                pass

    def feed(self):
        self._fed = time.ticks_ms()
        self._feed()

    def _tick(self, _):
        if time.ticks_diff(time.ticks_ms(), self._fed) < self._limit_ms:
            self._feed()
