"""One update, from the push to the hand-over: phases, each a module that is loaded for it."""

import time

from micropython import const

from ivota import Backoff, OtaError, describe, once

_MISMATCH = const(-4)
_REASONS = const(8)  # kinds of failure that are counted


class Job:
    """Works on `push` for `client`.

    `phase` names the module whose `step(job)` does the next bounded piece: staging, transfer,
    receive, finish; expired while a fresh URL is waited for; None after the last.
    """

    def __init__(self, client, push):
        self.client = client
        self.push = push
        self.phase = "staging"
        self.firmware = None  # the push, once verified: it has a `path` then
        self.taker = None  # what gets the firmware
        self.burning = False  # whether the cloud was told that it is handed over
        self.target = None
        self.verbs = None  # the module with what is done to the target
        self.stream = None
        retry = client.config["retry"]
        self.retry = Backoff(retry["first_s"], retry["most_s"])
        self.url = None  # where redirects have led
        self.hops = 0
        self.etag = None  # the server's name for these bytes, still to be noted
        self.skip = 0  # bytes to come that are on flash already
        self.durable_at = 0  # when a block last became durable
        self.fresh = False  # whether the first block is still to come
        self.worn_until = 0  # what the state is to have then
        self.fetched = False  # whether a block came in
        self.restarted = False  # whether what lay on flash was given up
        self.asked = False  # whether the URL expired since the last block
        self.tried = {}  # how often for which reason
        self.told = 0  # when progress was reported
        self.step = None  # does the next piece of the phase `loaded`; True for more at once
        self.loaded = None
        failures = client.state.failures and once("outcome").count(client.state, push.md5)
        if failures:
            self.rest_s(min(retry["first_s"] * (1 << min(failures, 20)), retry["rest_most_s"]))

    def load(self):
        """Load the module of the phase that begins."""
        self.step = self.loaded = None  # the module before leaves the heap
        self.step = once(self.phase).step
        self.loaded = self.phase

    def failed(self, error):
        """Act on what a step has raised: try again where that may help.

        Raises OtaError for a failure that is to be reported.
        """
        # It may have been for want of heap: what the phase had goes before more is loaded.
        self.hang_up()
        self.step = self.loaded = None
        if not isinstance(error, OtaError):
            error = once("faults").fault(self, error)
        tries_most = self.client.config["retry"]["job_tries"]
        if (
            error.again
            and self.target
            and self.retry.tries < tries_most
            and (self.restarted or error.code != _MISMATCH)
        ):
            self.retry.failed(error.after_s)
            if self.phase != "staging":
                self.phase = "transfer"
        else:
            once("failure").failed(self, error)
        why = error.message
        if len(self.tried) < _REASONS or why in self.tried:
            self.tried[why] = self.tried.get(why, 0) + 1
        self.client.log("warning", "retry", why=why, again_ms=self.retry.left_ms())

    def renew(self, url):
        """Take a fresh URL for the same firmware."""
        self.push.url = url
        if self.phase == "expired":
            self.retry.rest(0)
            self.phase = "transfer"

    def drop(self):
        """Leave the download as it is, ready to be resumed."""
        self.hang_up()
        target = self.target
        self.target = None
        try:
            if target:
                once("checkpoint").commit(target)
        except (OSError, MemoryError) as error:
            self.client.log("error", "flash", why=describe(error))

    def hang_up(self):
        """Close the connection to the server."""
        self.client.link.paused = False  # `one_tls_session`
        self.verbs = self.url = None
        self.hops = 0
        if self.stream:
            self.stream.close()
            self.stream = None

    def rest_s(self, seconds):
        """Let nothing happen for so long."""
        self.retry.rest(int(seconds * 1000))

    def deferred(self, what):
        """Whether this must still wait: for its time, or for the application."""
        if self.retry.left_ms():
            return True
        seconds = self.client.defer(what, self.push) if self.client.defer else 0
        self.rest_s(seconds)
        return seconds

    def progress(self):
        """Report how much is on flash."""
        self.told = time.ticks_ms()
        push = self.push
        percent = self.target.position * 100 // push.size
        client = self.client
        client.publish(
            client.dialect.report_progress("downloading", push.version, percent, echo=push.echo)
        )
