"""The device's end of the cloud's update protocol; `step()` does one bounded piece of work."""

import time

from micropython import const

from ivota import messages, net
from ivota.errors import FAILED, OtaError, describe
from ivota.job import Job
from ivota.journal import Journal
from ivota.link import Link
from ivota.state import State

_BURN_MS = const(600000)  # how long a new push waits for the application to say how burning went
_ANSWER_MS = const(2000)  # how long the cloud may take to answer a report with a push
_ACK_MS = const(5000)  # how long an orderly end waits for the last report's acknowledgement


class Client:
    """Reports the version that runs, and carries out the updates that the cloud asks for.

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

        self.config = config = check(config)
        self.version = version
        self.on_firmware = on_firmware
        self.defer = defer
        self.log = Journal(log)
        self.directory = firmware_dir or config["firmware_dir"]
        self.state = state or State()
        self.restart = False  # whether the board should be reset once `run` has ended
        self._on_failure = on_failure
        self._topic = config["topics"]["report"]
        self._link = Link(
            config["mqtt"],
            config["http"]["timeout_s"],
            config["retry"],
            self._sign_in,
            config["topics"]["update"],
            self,
            self.log,
        )
        self._exit = False
        self._confirmed = config["trial"]["confirm"] == "cloud"
        self._said = None  # what the application reports, from whatever thread
        self._queue = []  # (key, message) for QoS 1, the first to be sent first
        self._sending = None  # the entry of the queue that waits for its PUBACK
        self._job = None  # the update that is under way
        self._next = None  # a push that came in since
        self._burning = None  # the firmware that the application has
        self._trial = None
        if self.state.trial or self.state.ended:
            from ivota.trial import Trial

            self._trial = Trial(self, config["trial"]["limit_s"])
        if self.state.outbox:
            self.enqueue("final", self.state.outbox)
        self._interval_ms = int(config["report_interval_s"] * 1000)
        self._reported = self._acked = time.ticks_ms()

    def step(self):
        """Do one bounded piece of work; True if there is more to do at once."""
        net.feed()
        busy = self._link.step()
        if self._said:
            self._pass_on()
        if self._trial:
            self._trial = self._trial.step(self._confirmed)
        if self._next and not self._is_burning():
            self._begin()
        if self._job:
            busy = self._work() or busy
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
        """Run in a thread of its own; RuntimeError on a port without threads."""
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
        """For how many milliseconds the board may sleep; 0 while something is under way.

        After a report of the version the cloud gets two seconds for a push.
        """
        since = time.ticks_diff(time.ticks_ms(), self._acked)
        if self._job or self._next or self._queue or self._trial or self._burning:
            return 0
        if not self._link.up or since < _ANSWER_MS:
            return 0
        return max(self._interval_ms - time.ticks_diff(time.ticks_ms(), self._reported), 0)

    def alone(self, flag):
        """A download over TLS begins or ends: `one_tls_session` leaves the broker meanwhile."""
        if self.config["one_tls_session"] and self.config["mqtt"]["tls"]:
            self._link.pause(flag)

    def idle_ms(self):
        """How long the next step can wait, in milliseconds, if nothing comes in."""
        return 2 if self._job else 20

    def close(self):
        """Keep what was downloaded, and leave the cloud."""
        start = time.ticks_ms()
        while (
            self.unsent() and self._link.up and time.ticks_diff(time.ticks_ms(), start) < _ACK_MS
        ):
            if not self._link.step():
                self._send()
                time.sleep_ms(5)
        if self._job:
            self._job.drop()
            self._job = None
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
        self.report_version(True)

    def on_acked(self):
        """The broker has taken the message that was sent last."""
        entry = self._sending
        self._sending = None
        # What was queued since, under the same key, has yet to be sent.
        if entry is None or entry not in self._queue:
            return
        self._queue.remove(entry)
        self._acked = time.ticks_ms()
        if entry[0] == "final" and self.state.outbox:
            self.state.sent()
        elif entry[0] == "version" and self._trial:
            self._trial.reached()

    def on_message(self, payload):
        """Take in a message; no work is done here, because umqtt answers the broker after it."""
        try:
            push = messages.parse(payload)
        except OtaError as error:
            self.log("warning", "push_refused", why=error.message)
            if error.version:
                push = messages.Push(error.version, "", "", 0)
                self.report("fail", push, error.code, error.message)
            return
        except (ValueError, TypeError, MemoryError, RuntimeError) as error:
            self.log("warning", "message_ignored", why=describe(error))
            return
        if push and push.version != self.version:
            self._take(push)

    def _take(self, push):
        why = self.state.reason(push.md5)
        if why:
            self.report("fail", push, FAILED, why)
        elif self._job and push.same_firmware(self._job.push):
            self._job.renew(push.url)
            self._next = None
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

    def publish(self, message):
        """Send with QoS 0, if the cloud can be reached."""
        self._link.publish(self._topic, message, 0)

    def enqueue(self, key, message, first=False):
        """Queue for QoS 1; what a newer message of the same key says better is dropped."""
        self._queue = [entry for entry in self._queue if entry[0] != key]
        self._queue.insert(0 if first else len(self._queue), (key, message))

    def unsent(self):
        """Whether a report still waits for the cloud to have it."""
        return bool(self._queue)

    def report_version(self, first=False):
        """Queue the version that runs; the cloud answers with a push when it wants another."""
        self._reported = time.ticks_ms()
        self.enqueue("version", messages.report_version(self.version), first)

    def report(self, state, push, code=0, message=""):
        """Queue `burning`, `done` or `fail` for a push, and return the message."""
        text = messages.report_progress(state, push.version, None, code, message, push.echo)
        self.enqueue("burning" if state == "burning" else "final", text)
        return text

    def _send(self):
        if time.ticks_diff(time.ticks_ms(), self._reported) >= self._interval_ms:
            self.report_version()
        if self._queue and not self._link.waiting:
            self._sending = self._queue[0]
            self._link.publish(self._topic, self._sending[1], 1)

    def _pass_on(self):
        """Report what the application said of its own burning."""
        state, code, message = self._said
        self._said = None
        push = self._burning
        if push is None:
            return
        text = self.report(state, push, code, message)
        if state != "burning":
            self._burning = None
            self._post(text, push.md5 if state == "fail" else None)
        if state == "done":
            self.version = push.version
            self.report_version()

    # Updates

    def on_trial(self):
        """Whether the version that runs is not confirmed yet."""
        return bool(self._trial)

    def _is_burning(self):
        """Whether the application still has a firmware that it has not reported on."""
        return (
            self._burning is not None
            and self._job is None
            and time.ticks_diff(time.ticks_ms(), self._handed) < _BURN_MS
        )

    def _begin(self):
        """Start on the push that came in; what is here of another firmware stays on flash."""
        if self._job:
            self._job.drop()
        push = self._next
        self._next = self._burning = None
        self._job = Job(self, push)

    def _work(self):
        job = self._job
        try:
            busy = job.step()
        except OtaError as error:
            self._job = self._burning = None
            self._fail(job.push, error)
            return True
        self._burning = job.firmware
        if job.phase is None:
            self._job = None
            self._handed = time.ticks_ms()
        return busy

    def _fail(self, push, error):
        """Report a failure, once, and remember it: the next push of the same will have to rest."""
        self.log("error", "failed", code=error.code, why=error.message)
        self._post(self.report("fail", push, error.code, error.message), push.md5)
        if self._on_failure:
            try:
                self._on_failure(error)
            # It is the application's code, and no part of the update.
            except Exception as own:
                self.log("error", "on_failure", why=describe(own))

    def _post(self, text, md5):
        """Keep a final report through a power cut; it goes out even if the flash fails."""
        try:
            self.state.post(text, md5)
        except OSError as error:
            self.log("error", "flash", why=describe(error))
