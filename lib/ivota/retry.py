"""Exponential back-off with jitter, and budgets."""

import random
import time


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
