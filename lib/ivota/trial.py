"""The trial of a version that was just installed, and the report of one that ended."""

import time

from ivota import messages
from ivota.errors import FAILED


class Trial:
    """Confirms the version that runs once the cloud is reached, or gives it up in time.

    `limit_s` is how long the cloud may take. What boot.py ended is put into the outbox at once.
    """

    def __init__(self, client, limit_s):
        self._client = client
        self._limit_ms = int(limit_s * 1000)
        self._begun = time.ticks_ms()
        self._reached = False
        ended = client.state.ended
        if ended:
            client.state.post(
                messages.report_progress(
                    "fail", ended["version"], None, FAILED, ended["why"], ended.get("echo")
                ),
                ended.get("md5sum"),
                ended["why"] if ended.get("reject") else None,
            )

    def reached(self):
        """The cloud has acknowledged the version that runs."""
        self._reached = True

    def step(self, confirmed):
        """Confirm when all is well, go back when time is over; self while the trial goes on."""
        client = self._client
        trial = client.state.trial
        if not trial:
            return None
        if self._reached and confirmed:
            text = messages.report_progress("done", trial["version"], echo=trial.get("echo"))
            client.state.confirm(text)
            client.enqueue("final", text)
            client.log("info", "confirmed", version=trial["version"])
            return None
        if time.ticks_diff(time.ticks_ms(), self._begun) > self._limit_ms:
            client.state.roll_back("the trial was not confirmed in time")
            client.restart = True
            client.exit()
        return self
