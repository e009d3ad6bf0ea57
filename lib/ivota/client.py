"""The update cycle: a state machine whose `step()` does one bounded piece of work."""

import time

from micropython import const

from ivota import jsonfile, messages, net
from ivota.errors import EXPIRED, FAILED, TIMED_OUT, Afresh, OtaError, describe
from ivota.firmware import FirmwareFile, file_stem
from ivota.link import Link
from ivota.retry import Backoff
from ivota.state import State
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


class Client:
    """The device's end of the cloud's update protocol (docs/protocol.md).

    `config` is the configuration as a dictionary (docs/formats.md), `version` what runs now.
    `on_firmware(firmware)` gets each verified firmware, and reports how burning it went through
    `update_progress`; what it raises is reported as `fail -5`. Where it has an attribute `check`,
    that is called first, step by step, until it returns True. `on_failure(error)` is told of each
    update that failed. `defer(what, push)`, with what "download" or "install", returns for how
    many seconds that must wait, 0 for not at all. `log(level, event, **fields)` is quiet by
    default. Raises ConfigError.
    """

    def __init__(
        self,
        config,
        version,
        on_firmware,
        on_failure=None,
        defer=None,
        log=None,
        firmware_dir=None,
        state=None,
    ):
        from ivota.config import check

        config = check(config)
        self.config = config
        self.version = version
        self.state = state or State()
        self._on_firmware = on_firmware
        self._on_failure = on_failure
        self._defer = defer
        self._log = log or _quiet
        self._directory = firmware_dir or config["firmware_dir"]
        self._retry = Backoff(config["retry"]["first_s"], config["retry"]["most_s"])
        self._link = Link(
            config["mqtt"],
            config["http"]["timeout_s"],
            config["retry"],
            self._sign_in,
            config["topics"]["update"],
            self,
            self._log,
        )
        self._interval_ms = int(config["report_interval_s"] * 1000)
        self._deadline_ms = int(config["http"]["deadline_s"] * 1000)
        self._exit = False
        self._confirmed = config["trial"]["confirm"] == "cloud"
        self._said = None  # what the application reports, from whatever thread
        self._queue = []  # (key, message) for QoS 1, the oldest first
        self._sending = None  # the key of the message that waits for its PUBACK
        self._buffer = bytearray(_CHUNK)
        self._push = None  # the firmware that is worked on
        self._next = None  # a push that came in since
        self._phase = None  # the bound method that does the next piece of work
        self._target = None
        self._transfer = None
        self._burning = None  # the firmware that was handed over
        self._trial = None
        self.restart = False  # whether the board should be reset once `run` has ended
        if self.state.trial or self.state.ended:
            from ivota.trial import Trial

            self._trial = Trial(self, config["trial"]["limit_s"])
        if self.state.outbox:
            self.enqueue("final", self.state.outbox)
        self._reported = time.ticks_ms()

    # What the application calls

    def step(self):
        """Do one bounded piece of work; True if there is more to do at once."""
        net.feed()
        busy = self._link.step()
        if self._said:
            self._pass_on()
        if self._trial:
            self._trial = self._trial.step(self._confirmed)
        if self._phase:
            busy = self._work() or busy
        elif self._next:
            self._begin()
            busy = True
        if self._link.up and not self._link.waiting:
            self._send()
        return busy

    def run(self):
        """Step until `exit()`."""
        while not self._exit:
            if not self.step():
                time.sleep_ms(self.idle_ms())
        self.close()

    def start(self):
        """Run in a thread of its own; needs a port with `_thread`."""
        from ivota.runners import start

        start(self)

    def serve(self):
        """Run as an asyncio task: `asyncio.create_task(client.serve())`."""
        from ivota.runners import serve

        return serve(self)

    def exit(self):
        """Tell `run` to end at the next step, in a state that can be resumed; safe anywhere."""
        self._exit = True

    @property
    def exiting(self):
        """Whether `exit()` was called."""
        return self._exit

    @property
    def idle(self):
        """Whether nothing is under way: no download, no report that waits for the cloud."""
        return not (self._phase or self._next or self._queue or self._trial)

    def idle_ms(self):
        """How long the next step can wait, in milliseconds, if nothing comes in."""
        return 2 if self._phase else 20

    def close(self):
        """Keep what was downloaded, and leave the cloud."""
        if self._sending and self._link.up:
            self._await_ack()
        self._drop()
        self._phase = None
        self._link.close(True)

    def update_progress(self, state, code=0, message=""):
        """Report "burning", "done" or "fail" for the firmware handed over; safe anywhere."""
        if state not in ("burning", "done", "fail"):
            raise ValueError("state is one of burning, done, fail")
        self._said = (state, code, message)

    def confirm(self):
        """End the trial of the version that runs, where `trial.confirm` is "application"."""
        self._confirmed = True

    # What the link calls

    def on_up(self):
        """Subscribed: say which version runs, before anything that waits from before."""
        self._sending = None
        self._report_version()

    def on_acked(self):
        """The broker has taken the first message of the queue."""
        entry = self._sending
        self._sending = None
        # What was queued since, under the same key, has yet to be sent.
        if entry is None or not self._queue or self._queue[0] is not entry:
            return
        self._queue.pop(0)
        if entry[0] == "final" and self.state.outbox:
            self.state.sent()
        elif entry[0] == "version" and self._trial:
            self._trial.reached()

    def on_message(self, payload):
        """Take in a message; no work is done here, because umqtt answers the broker after it."""
        try:
            push = messages.parse(payload)
        except OtaError as error:
            self._log("warning", "push_refused", why=error.message)
            if error.version:
                self._report("fail", error.version, None, error.code, error.message)
            return
        except (ValueError, TypeError, MemoryError, RuntimeError) as error:
            self._log("warning", "message_ignored", why=describe(error))
            return
        if push and push.version != self.version:
            self._take(push)

    def _take(self, push):
        why = self.state.reason(push.md5)
        if why:
            self._report("fail", push.version, push.echo, FAILED, why)
        elif push.same_firmware(self._push):
            self._push.url = push.url
            self._next = None
            if self._wants_url:
                self._wants_url = False
                self._phase = self._connect
        elif not push.same_firmware(self._burning):
            self._next = push

    # Reports

    def _sign_in(self):
        config = self.config
        if config["device_secret"]:
            from ivota.credentials import sign_in

            return sign_in(config["product_id"], config["device_name"], config["device_secret"])
        mqtt = config["mqtt"]
        return config["product_id"] + config["device_name"], mqtt["user"], mqtt["password"]

    def enqueue(self, key, message):
        """Queue for QoS 1; what a newer message says better is dropped."""
        queue = [entry for entry in self._queue if entry[0] != key]
        if key == "version":
            queue.insert(0, (key, message))
        else:
            queue.append((key, message))
        self._queue = queue

    def _report_version(self):
        self._reported = time.ticks_ms()
        self.enqueue("version", messages.report_version(self.version))

    def _report(self, state, version, echo, code=0, message=""):
        text = messages.report_progress(state, version, None, code, message, echo)
        self.enqueue("burning" if state == "burning" else "final", text)
        return text

    def _send(self):
        if time.ticks_diff(time.ticks_ms(), self._reported) >= self._interval_ms:
            self._report_version()
        if self._queue:
            self._sending = entry = self._queue[0]
            self._link.publish(self.config["topics"]["report"], entry[1], 1)

    def _progress(self, always=False):
        now = time.ticks_ms()
        if always or time.ticks_diff(now, self._told) >= 1000:
            self._told = now
            percent = self._target.position * 100 // self._push.size
            self._link.publish(
                self.config["topics"]["report"],
                messages.report_progress(
                    "downloading", self._push.version, percent, echo=self._push.echo
                ),
                0,
            )

    def _pass_on(self):
        """Report what the application said of its own burning."""
        state, code, message = self._said
        self._said = None
        push = self._burning
        if push is None:
            return
        text = self._report(state, push.version, push.echo, code, message)
        if state != "burning":
            self._burning = None
            self.state.post(text, push.md5 if state == "fail" else None)
        if state == "done":
            self.version = push.version
            self._report_version()

    def _await_ack(self):
        limit = time.ticks_add(time.ticks_ms(), _ACK_MS)
        while self._sending and self._link.up and time.ticks_diff(limit, time.ticks_ms()) > 0:
            if not self._link.step():
                time.sleep_ms(5)

    # One update, phase by phase

    def _work(self):
        try:
            if self._next:
                # Another firmware was pushed meanwhile: what is here of this one stays.
                self._drop()
                self._begin()
            return self._phase()
        except OtaError as error:
            self._failed(error)
        except OSError as error:
            # The network's errors come as OtaError; this one is the flash's.
            self._failed(OtaError(FAILED, "flash: " + describe(error)))
        return True

    def _begin(self):
        push = self._next
        self._next = None
        self._push = push
        self._tries = 0
        self._fetched = self._asked_fresh = self._wants_url = self._restarted = False
        self._retry.reset()
        failures = self.state.count(push.md5)
        if failures:
            retry = self.config["retry"]
            rest_s = min(retry["first_s"] << min(failures, 20), retry["rest_most_s"])
            self._retry.rest(int(rest_s * 1000))
        self._log("info", "update", version=push.version, size=push.size)
        self._phase = self._prepare

    def _later(self, what):
        seconds = self._defer(what, self._push) if self._defer else 0
        if seconds:
            self._retry.rest(int(seconds * 1000))
        return seconds

    def _prepare(self):
        # A trial needs both bundles; what is pushed meanwhile waits for its end.
        if self._retry.left_ms() or self._trial or self._later("download"):
            return False
        state = self.state
        if state.active == self._directory + "/" + file_stem(self._push.version) + ".bin":
            raise OtaError(FAILED, "a firmware of this name runs")
        self._target = FirmwareFile(self._directory, state.active, state.previous)
        offset = self._target.open(self._push)
        self._log("info", "download", offset=offset)
        self._told = 0
        self._progress(True)
        self._phase = self._verify if offset == self._push.size else self._connect
        return True

    def _connect(self):
        if self._retry.left_ms():
            return False
        target = self._target
        self._transfer = Transfer(self._push, target.position, self.config["http"], target.etag())
        target.note(self._transfer.etag)
        self._skip = self._transfer.skip
        self._durable_at = time.ticks_ms()
        self._phase = self._receive
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
            self._transfer.close()
            self._transfer = None
            self._phase = self._verify

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
            self._phase = self._prepare
            return True
        self._log("info", "verified", version=self._push.version)
        self._burning = Firmware(target.path, self._push)
        self._target = None
        self._phase = self._examine
        return True

    def _examine(self):
        if self._retry.left_ms() or self._later("install"):
            return False
        check = getattr(self._on_firmware, "check", None)
        if check and not check(self._burning):
            return True
        self._report("burning", self._push.version, self._push.echo)
        self._retry.rest(_ACK_MS)
        self._phase = self._hand_over
        return True

    def _hand_over(self):
        """Wait until the cloud has `burning`, but not for long, and call the application."""
        if self._queue and self._retry.left_ms():
            return False
        self._phase = self._push = None
        self._retry.reset()
        try:
            self._on_firmware(self._burning)
        # It is the application's code: whatever it raises, the cloud is told.
        except Exception as error:
            raise error if isinstance(error, OtaError) else OtaError(FAILED, describe(error))
        return True

    def _wait_url(self):
        if self._retry.left_ms():
            return False
        raise OtaError(EXPIRED, "the URL has expired, and no fresh one came")

    def _drop(self):
        """Leave the download as it is, ready to be resumed."""
        if self._transfer:
            self._transfer.close()
            self._transfer = None
        if self._target:
            self._target.commit()
            self._target = None

    def _failed(self, error):
        """Try again where that may help, else report the failure, once."""
        self._log("warning", "failed", code=error.code, why=error.message)
        if self._transfer:
            self._transfer.close()
            self._transfer = None
        if isinstance(error, Afresh) and not self._restarted:
            self._restarted = True
            self._target.discard()
            self._phase = self._prepare
            return
        if error.again and self._target:
            self._tries += 1
            if self._tries <= self.config["retry"]["job_tries"]:
                self._retry.failed(error.after_s)
                self._phase = self._connect
                return
        if error.code == EXPIRED and not self._asked_fresh:
            self._asked_fresh = self._wants_url = True
            self._report_version()
            self._retry.rest(_FRESH_MS)
            self._phase = self._wait_url
            return
        self._end(error)

    def _end(self, error):
        push = self._push or self._burning
        message = error.message
        if error.code == TIMED_OUT and not message.startswith("time_out"):
            message = "time_out: " + message
        try:
            if error.code in (TIMED_OUT, EXPIRED):
                self._drop()
            elif self._target:
                self._target.discard()
            elif self._burning and self._burning.path != self.state.active:
                jsonfile.remove(self._burning.path)
            text = self._report("fail", push.version, push.echo, error.code, message)
            self.state.post(text, push.md5)
        except OSError as flash:
            self._log("error", "flash", why=describe(flash))
        self._target = self._push = self._phase = self._burning = None
        if self._on_failure:
            self._on_failure(error)


def _quiet(_level, _event, **_fields):
    """The log that nobody reads."""
