"""A clock whose time passes instantly: `time` for a board that must not really wait."""

import time

_ticks_diff = time.ticks_diff
_ticks_add = time.ticks_add
_gmtime = time.gmtime
_CALLS = 32  # reads of the clock per millisecond


class Clock:
    """The module `time`; `passed(ms)` is called whenever the board waits."""

    ticks_diff = staticmethod(_ticks_diff)
    ticks_add = staticmethod(_ticks_add)
    gmtime = staticmethod(_gmtime)
    localtime = staticmethod(_gmtime)

    def __init__(self, passed):
        # asyncio schedules its tasks by the port's own clock unless told otherwise: that clock
        # must lag behind ours.
        self.now = _ticks_add(time.ticks_ms(), 1 << 24)
        self.begun = self.now
        self._passed = passed
        self._calls = 0
        # `from time import …` cannot import bound methods of an object's class.
        self.ticks_ms = self._ticks_ms
        self.ticks_us = self._ticks_us
        self.sleep_ms = self._sleep_ms
        self.sleep = self._sleep
        self.time = self._time

    def _ticks_ms(self):
        self._calls += 1
        if self._calls == _CALLS:
            self._calls = 0
            self.now = _ticks_add(self.now, 1)
        return self.now

    def _ticks_us(self):
        return self.ticks_ms() * 1000 & 0x3FFFFFFF

    def _sleep_ms(self, ms):
        self.now = _ticks_add(self.now, ms)
        self._passed()

    def _sleep(self, seconds):
        self.sleep_ms(int(seconds * 1000))

    # Like a board whose clock has not been set.
    def _time(self):
        return _ticks_diff(self.now, self.begun) // 1000
