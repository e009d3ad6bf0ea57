"""Until the cloud is reached: the configuration is on trial, whatever else is."""

import time

from ivota import once


class Watch:
    """In the place of the client's trial until the cloud is reached: keeps what reached it.

    While it is not, the other one of `paths` is tried every `limit_s`. `mark` is None where
    /ivota.json is not to be kept.
    """

    def __init__(self, client, paths, mark, limit_s):
        self.reached = False  # whether the cloud has acknowledged the version that runs
        self._client = client
        self._trial = client.trial
        self._paths = paths
        self._mark = mark
        self._limit_ms = int(min(limit_s, 86400) * 1000)
        self._begun = time.ticks_ms()

    def step(self, confirmed):
        """What takes its place in the next step: itself until the cloud is reached."""
        client = self._client
        if self._trial:
            self._trial.reached = self.reached
            self._trial = self._trial.step(confirmed)
        if self.reached:
            if self._mark:
                once("kept").keep(client, self._paths[0], self._mark)
            return self._trial
        if (
            len(self._paths) > 1
            and not client.job
            and time.ticks_diff(time.ticks_ms(), self._begun) > self._limit_ms
        ):
            self._begun = time.ticks_ms()
            self._paths.reverse()
            once("turn").turn(client, self._paths[0])
        return self
