"""Run one update, from the push to the hand-over, in phases that are loaded one by one."""

import gc
import time

from micropython import const

from ivota import Backoff, OtaError, describe, measure_heap, once

_MISMATCH = const(-4)
_LONG_S = const(10)  # a longer wait is reported to the cloud
_REASONS = const(8)  # kinds of failures to count


class Job:
    """Carry out `push` for `client`, one phase after the other.

    A phase is a module of this package with a function `step(job)`, which does the next bounded
    piece of work and returns True if there is more to do at once. `enter` names the next phase:

    download_preparation: the download is due, and its target is open, or the first bytes will
        choose it → http_request
    http_request: the request for the missing bytes is sent → response_check; they are all on flash
        already → verification
    response_check: the server answers with them → the target's `receiver`: body_download, or
        slot_or_file as long as the target is not known; it redirects → http_request
    slot_or_file: the first bytes have said where the firmware goes → body_download
    body_download: the last byte is on flash → verification
    verification: the MD5 is right and there are `keys` → owner_signature; it is a patch →
        patcher; it was handed over → None, which ends the update
    owner_signature: an owner's signature fits → signed_claims
    signed_claims: the payload is what was signed → verification
    patcher: the result is on flash → owner_signature if there are `keys`, otherwise
        verification
    url_renewal: a fresh URL came, through `renew` → http_request

    After an error that may pass, the job returns to http_request; after one that calls for one
    more download from the first byte, to download_preparation; after an expired URL, to
    url_renewal. Any other error ends it (`failed`).
    """

    def __init__(self, client, push):
        measure_heap()
        self.client = client
        self.push = push
        self.phase = "download_preparation"  # the name of the module
        self._step = None  # its function, once it is loaded
        self.firmware = None  # after verification: the push, or a patch's result (patcher)
        self.on_firmware = None  # receives the firmware: `on_firmware`, or an `Installer`
        self.burning = False  # whether the cloud was told that the firmware is being installed
        self.signed = None  # the signed header, as bytes, until signed_claims has checked it
        self.target = None  # where the bytes go: a `Target`
        self.response = None  # the `Stream` with the server's response
        self.work = None  # the generator with which the phase does its work piece by piece
        retry = client.config["retry"]
        self.retry = Backoff(retry["first_s"], retry["most_s"])
        self.location = None  # the URL to which the server redirects
        self.redirects = 0
        self.asked = None  # the ETag in the last request
        self.etag = None  # the ETag of the response, until it is in the checkpoint
        self.skip = 0  # bytes in the response that are on flash already
        self.last_block_at = 0  # when the last block or the response came, in ticks
        self.deadline_ms = 0  # how long a block may take, in milliseconds (response_check)
        self.fetched = False  # whether a block has arrived
        self.restarted = False  # whether older data on flash was discarded
        self.url_asked = False  # whether a fresh URL was requested since the last block
        self.reasons = {}  # reasons of failed tries, each with its count
        self.reported_at = 0  # when progress was reported last, in ticks
        self.wait_reason = None  # the reason that was reported last, while the update waits
        failures = client.state.failures and once("failure_record").count(client.state, push.md5)
        if failures:
            seconds = min(retry["first_s"] * (1 << min(failures, 20)), retry["rest_most_s"])
            self.rest_s(seconds)
            if seconds >= _LONG_S:
                self.report_wait("in back-off after %d failures" % failures)

    def enter(self, phase):
        """Continue with this phase at the next step; None ends the update."""
        self.phase = phase
        self._step = None  # the previous module leaves the heap

    def step(self):
        """Do the next bounded piece of work; return True if there is more to do at once."""
        if not self._step:
            self._step = once(self.phase).step
        return self._step(self)

    def failed(self, error):
        """Handle an exception of a step: retry if that may help.

        Raises OtaError for a failure that must be reported.
        """
        # The heap may be full: release what the phase had before anything more is loaded.
        self.release()
        gc.collect()
        measure_heap()
        if not isinstance(error, OtaError):
            error = once("exception_to_error").fault(self, error)
        tries_most = self.client.config["retry"]["job_tries"]
        if (
            error.again
            and self.target
            and self.retry.tries < tries_most
            and (self.restarted or error.code != _MISMATCH)
        ):
            self.retry.failed(error.after_s)
            if self.phase != "download_preparation":
                self.enter("http_request")
        else:
            once("failure_handler").failed(self, error)
        why = error.message
        reasons = self.reasons
        if len(reasons) < _REASONS or why in reasons:
            reasons[why] = reasons.get(why, 0) + 1
        self.client.log("warning", "retry", why=why, again_ms=self.retry.left_ms())

    def renew(self, push):
        """Replace the push with a later one for the same firmware, until it is verified."""
        if not self.firmware:
            self.push = push
        if self.wait_reason:
            self.report_wait(self.wait_reason, True)
        if self.phase == "url_renewal":
            self.retry.rest(0)
            self.enter("http_request")

    def stop(self):
        """Stop the download so that it can be resumed."""
        self.release()
        target = self.target
        self.target = None
        try:
            if target:
                target.stop()
        except (OSError, MemoryError) as error:
            self.client.log("error", "flash", why=describe(error))

    def hang_up(self):
        """Close the connection to the server; can be called repeatedly."""
        self.client.link.paused = False  # `one_tls_session`
        self.location = None  # the URL to which the server redirects
        self.redirects = 0
        if self.response:
            self.response.close()
            self.response = None

    def release(self):
        """Close what the phase has open, and let its module leave the heap."""
        self._step = None
        self.hang_up()
        if self.work:
            self.work.close()
            self.work = None

    def rest_s(self, seconds):
        """Start a wait of this many seconds."""
        self.retry.rest(int(seconds * 1000))

    def must_wait(self, what):
        """Return whether the update must still wait, for its back-off or for the application."""
        if self.retry.left_ms():
            return True
        seconds = self.client.defer(what, self.push) if self.client.defer else 0
        self.rest_s(seconds)
        if seconds:
            self.report_wait("the application defers the " + what)
        else:
            self.wait_reason = None
        return seconds

    def report_wait(self, why, again=False):
        """Tell an ivota cloud why this update waits: once, and with `again` at each
        further push.
        """
        if again or why != self.wait_reason:
            self.wait_reason = why
            self.client.tell(why, self.push, self.retry.left_ms())

    def progress(self):
        """Report the percentage that has arrived."""
        self.reported_at = time.ticks_ms()
        push = self.push
        percent = self.target.position * 100 // push.size
        client = self.client
        client.publish(
            client.dialect.report_progress("downloading", push.version, percent, echo=push.echo)
        )
