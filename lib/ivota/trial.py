"""Confirm or give up a version that was just installed."""

import time

from ivota import describe, once


class Trial:
    """The trial of the running version: confirm it when the cloud answers, or give it up in time.

    `limit_s` is how long the cloud may take. If a cloud has never answered a report of the
    version, the broker's acknowledgement is enough. If boot.py has ended the trial, its report
    goes into the outbox at once.
    """

    def __init__(self, client, limit_s):
        self._client = client
        self._limit_ms = int(limit_s * 1000)
        self._begun = time.ticks_ms()
        self.acked = False  # whether the broker acknowledged a report of the running version
        self.answered = False  # whether the cloud answered one
        state = client.state
        try:
            if state.ended or "slot" in state.trial:
                once("rollback_report").report(client)
        # If the write fails, the next start repeats it; this start must be able to update.
        except OSError as error:
            client.log("error", "flash", why=describe(error))

    def step(self, confirmed):
        """Confirm the version if all is well, or roll back if the time is over; return self while
        the trial continues.
        """
        client = self._client
        state = client.state
        trial = state.trial
        if not trial:
            return None
        # If the bundle did not start, the running version is not the one on trial.
        runs = client.version == trial["version"]
        by_broker = client.config["trial"]["confirm"] == "broker"
        reached = self.answered or self.acked and (by_broker or not state.answered)
        if reached and confirmed and runs or "provisional" in trial:
            if by_broker and not self.answered:
                state.answered = False  # the next version may be confirmed without an answer, too
            text = client.dialect.report_progress("done", trial["version"], echo=trial.get("echo"))
            if trial.get("slot") and not once("image_trial").confirm(client, text):
                return self
            path = state.active
            if path and path[-4:] == ".new":  # until now it could be built again
                once("json_file").remove(path[:-4] + ".bin")  # the patch that built it
            confirm(state, text)
            client.enqueue("final", text)
            client.log("info", "confirmed", version=trial["version"])
            return None
        if time.ticks_diff(time.ticks_ms(), self._begun) > self._limit_ms:
            once("trial_rollback").give_up(client, runs, reached, self.acked)
        return self


def confirm(state, outbox):
    """End the trial for good, with one write that also puts its `done` report into the outbox."""
    state.failures = []
    state.rejected = []
    state.outbox = outbox
    state.sequence = max(state.sequence, state.trial.get("sequence", 0))
    state.trial = None
    state.starts = state.power_boots = 0
    once("state").save(state)
