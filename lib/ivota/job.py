"""One update, from the push to the hand-over: a chain of phases, each a bounded piece of work."""

import gc
import time

from micropython import const

from ivota import jsonfile, messages, net
from ivota.errors import EXPIRED, FAILED, TIMED_OUT, Afresh, OtaError, describe
from ivota.firmware import FirmwareFile, file_stem
from ivota.retry import Backoff
from ivota.transfer import Transfer

_CHUNK = const(512)  # bytes of one read off the network
_BLOCK = const(4096)  # bytes of flash that one step digests
_ACK_MS = const(5000)  # how long a hand-over waits for the cloud to have `burning`
_FRESH_MS = const(30000)  # how long a fresh URL may take after one expired


class Firmware:
    """A verified firmware: `path`, `version`, `size` and `payload_size` in bytes, `md5`."""

    def __init__(self, path, push):
        self.path = path
        self.version = push.version
        self.size = self.payload_size = push.size
        self.md5 = push.md5
        self.echo = push.echo


class Job:
    """Works on `push` for `client`; `phase` is the bound method that does the next piece."""

    def __init__(self, client, push):
        self.push = push
        self.firmware = None  # what was verified
        self._client = client
        self._directory = client.directory
        retry = client.config["retry"]
        self._tries_most = retry["job_tries"]
        self._retry = Backoff(retry["first_s"], retry["most_s"])
        self._http = client.config["http"]
        self._deadline_ms = int(self._http["deadline_s"] * 1000)
        self._tries = 0
        self._fetched = False  # whether a block came in
        self._restarted = False  # whether what lay on flash was given up
        self._asked_fresh = False  # whether the URL expired since the last block
        self._buffer = bytearray(_CHUNK)
        self._target = None
        self._transfer = None
        self._told = 0
        failures = client.state.count(push.md5)
        if failures:
            rest_s = min(retry["first_s"] * (1 << min(failures, 20)), retry["rest_most_s"])
            self._retry.rest(int(rest_s * 1000))
        self.phase = self._prepare
        client.log("info", "update", version=push.version, size=push.size)

    def step(self):
        """Do the next piece; True if more can be done at once. `phase` is None after the last.

        Raises OtaError for a failure that is to be reported.
        """
        try:
            return self.phase()
        except OtaError as error:
            self._failed(error)
        except OSError as error:
            # The network's errors come as OtaError; this one is the flash's.
            self._failed(OtaError(FAILED, "flash: " + describe(error)))
        except MemoryError as error:
            gc.collect()
            self._failed(OtaError(TIMED_OUT, describe(error), True))
        # What the application's hooks raise must not end the client.
        except Exception as error:
            self._failed(OtaError(FAILED, describe(error)))
        return True

    def renew(self, url):
        """Take a fresh URL for the same firmware."""
        self.push.url = url
        if self._asked_fresh and self.phase == self._wait_url:
            self._retry.rest(0)
            self.phase = self._connect

    def drop(self):
        """Leave the download as it is, ready to be resumed."""
        self._hang_up()
        target = self._target
        self._target = None
        try:
            if target:
                target.commit()
        except OSError as error:
            self._client.log("error", "flash", why=describe(error))

    def _hang_up(self):
        self._client.alone(False)
        if self._transfer:
            self._transfer.close()
            self._transfer = None

    def _deferred(self, what):
        """Whether this must still wait: for its time, or for the application."""
        if self._retry.left_ms():
            return True
        seconds = self._client.defer(what, self.push) if self._client.defer else 0
        if seconds:
            self._retry.rest(int(seconds * 1000))
        return seconds

    def _prepare(self):
        # A trial needs both bundles; what is pushed meanwhile waits for its end.
        if self._client.on_trial() or self._deferred("download"):
            return False
        state = self._client.state
        if state.active == self._directory + "/" + file_stem(self.push.version) + ".bin":
            raise OtaError(FAILED, "a firmware of this name runs")
        self._target = FirmwareFile(self._directory, state.active, state.previous)
        offset = self._target.open(self.push)
        self._client.log("info", "download", offset=offset)
        self._progress(True)
        self.phase = self._verify if offset == self.push.size else self._connect
        return True

    def _connect(self):
        if self._retry.left_ms() or not net.online():
            return False
        target = self._target
        self._client.alone(self.push.url[:8].lower() == "https://")
        self._transfer = Transfer(self.push, target.position, self._http, target.etag())
        target.note(self._transfer.etag)
        self._skip = self._transfer.skip
        self._durable_at = time.ticks_ms()
        self.phase = self._receive
        return True

    def _receive(self):
        """Take what has arrived, at most a block of flash."""
        target = self._target
        raw = self._transfer.raw
        busy = False
        for _ in range(_BLOCK // _CHUNK):
            room = self._skip or target.room()
            try:
                n = raw.readinto(self._buffer, room if room < _CHUNK else _CHUNK)
            except OSError as error:
                raise OtaError(TIMED_OUT, describe(error), True)
            if not n:
                if n == 0:
                    raise OtaError(TIMED_OUT, "the server closed early", True)
                break
            busy = True
            if self._skip:
                # Nothing becomes durable meanwhile, but a block that was skipped is progress too.
                if self._skip % _BLOCK < n:
                    self._durable_at = time.ticks_ms()
                self._skip -= n
            elif target.write(self._buffer, n):
                self._advance()
                return True
        if time.ticks_diff(time.ticks_ms(), self._durable_at) > self._deadline_ms:
            raise OtaError(TIMED_OUT, "no block in %d s" % (self._deadline_ms // 1000), True)
        return busy

    def _advance(self):
        """A block is durable: progress refills the budget."""
        target = self._target
        self._durable_at = time.ticks_ms()
        self._tries = 0
        self._retry.reset()
        self._fetched = True
        self._asked_fresh = False
        whole = target.position == target.size
        target.check(_BLOCK)
        self._progress(whole)
        if whole:
            self._hang_up()
            self.phase = self._verify

    def _progress(self, always=False):
        now = time.ticks_ms()
        if always or time.ticks_diff(now, self._told) >= 1000:
            self._told = now
            push = self.push
            percent = self._target.position * 100 // push.size
            self._client.publish(
                messages.report_progress("downloading", push.version, percent, echo=push.echo)
            )

    def _verify(self):
        target = self._target
        if not target.check(_BLOCK):
            return True
        try:
            target.finish()
        except OtaError:
            target.discard()
            if self._fetched:
                raise
            # What lay there from before was not it.
            self.phase = self._prepare
            return True
        self._client.log("info", "verified", version=self.push.version)
        self.firmware = Firmware(target.path, self.push)
        self._target = None
        self.phase = self._examine
        return True

    def _examine(self):
        if self._deferred("install"):
            return False
        check = getattr(self._client.on_firmware, "check", None)
        if check and not check(self.firmware):
            return True
        self._client.report("burning", self.push)
        self._retry.rest(_ACK_MS)
        self.phase = self._hand_over
        return True

    def _hand_over(self):
        """Wait until the cloud has `burning`, but not for long, and call the application."""
        if self._client.unsent() and self._retry.left_ms():
            return False
        self.phase = None
        self._client.log("info", "handed_over", version=self.push.version)
        try:
            self._client.on_firmware(self.firmware)
        # It is the application's code: whatever it raises, the cloud is told.
        except Exception as error:
            raise error if isinstance(error, OtaError) else OtaError(FAILED, describe(error))
        return True

    def _wait_url(self):
        if self._retry.left_ms():
            return False
        raise OtaError(EXPIRED, "the URL has expired, and no fresh one came")

    def _failed(self, error):
        """Try again where that may help, else clean up and pass the failure on."""
        self._hang_up()
        if isinstance(error, Afresh) and not self._restarted:
            self._restarted = True
            self._target.discard()
            self.phase = self._prepare
        elif error.again and self._target and self._tries < self._tries_most:
            self._tries += 1
            self._retry.failed(error.after_s)
            self.phase = self._connect
        elif error.code == EXPIRED and not self._asked_fresh:
            self._asked_fresh = True
            self._client.report_version()
            self._retry.rest(_FRESH_MS)
            self.phase = self._wait_url
        else:
            self.phase = None
            self._leave(error)
            if error.code == TIMED_OUT:
                error.message = "time_out: " + error.message
            tried = self._client.log.summary()
            if tried:
                error.message += " (after %s)" % tried
            raise error
        self._client.log("warning", "retry", why=error.message, again_ms=self._retry.left_ms())

    def _leave(self, error):
        """What can be resumed stays on flash; of a firmware that failed for good nothing does."""
        if error.code in (TIMED_OUT, EXPIRED):
            self.drop()
        elif self._target:
            self._target.discard()
        elif self.firmware and self.firmware.path != self._client.state.active:
            jsonfile.remove(self.firmware.path)
