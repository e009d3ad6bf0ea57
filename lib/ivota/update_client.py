"""The client of the cloud: it reports the version, takes pushes, and runs updates in steps."""

import time

from micropython import const

from ivota import OtaError, guarded_socket, let_go, line, measure_heap, once
from ivota.report_queue import ReportQueue

_FAILED = const(-5)
_BURN_MS = const(600000)  # maximum wait of a new push for the application's result
_ANSWER_MS = const(2000)  # maximum time for the cloud to answer a report with a push
_QUIET_MS = const(60000)  # without a message from the cloud, before the client logs that
_EVENTS = const(2048)  # maximum number of characters in `Client.events`


class Client(ReportQueue):
    """Report the running version, and carry out the updates that the cloud pushes.

    `config` is the configuration as a dictionary (docs/formats.md), or a tuple of them, in which
    later ones override earlier ones. `version` is the running version; None means the version in
    the configuration. `on_firmware(firmware)` gets each verified firmware, and reports its
    installation with `update_progress`; an exception is reported as `fail -5`. If the callback has
    an attribute `check`, the client calls `check(firmware)` first, step by step, until it returns
    True. Without `on_firmware`, bundles are installed, which ends `run` with `restart` set.
    `on_failure(error)` is called after each failed update. `defer(what, push)`, with "download" or
    "install", returns how many seconds that must wait. `log(level, event, **fields)` is silent by
    default. Raises ConfigError, a ValueError.
    """

    def __init__(
        self,
        config,
        version,
        on_firmware=None,
        on_failure=None,
        defer=None,
        log=None,
        firmware_dir=None,
        state=None,
    ):
        super().__init__()
        measure_heap()
        config = once("config").check(config)
        self.version = version or config["version"]
        self.on_firmware = on_firmware
        self.on_failure = on_failure
        self.defer = defer
        self.state = state = state or once("state").load()
        self.restart = False  # whether the board must reset after `run`
        self.exiting = False  # whether `exit()` was called
        self.events = []  # lines: the log's events during the last update, 2 KiB at most
        self._hook = log
        self.adopt(config)
        self.directory = firmware_dir or config["firmware_dir"]
        self._confirmed = config["trial"]["confirm"] != "application"
        self._quiet_at = 0  # start of the session in ticks, until a message arrives
        self._progress = None  # the argument of `update_progress`, from any thread
        self.job = None  # the current update
        self.next = None  # the next push, until `step` begins its update
        self.burning = None  # the firmware that the application is installing
        self.trial = None  # of the version or the configuration, until the cloud answers
        if state.trial or state.ended:
            self.trial = once("trial").Trial(self, config["trial"]["limit_s"])
        if state.outbox:
            self.enqueue("final", state.outbox)
        self._update = self._pieces()

    def adopt(self, config):
        """Use a checked configuration, with its dialect and its link to the cloud."""
        self.config = config
        guarded_socket.hooks.ntp_host = config["ntp_host"]
        self.directory = config["firmware_dir"]
        # Other dialects stay loaded beside `tencent`. Only a channel has a `Link` of its own.
        self.dialect = dialect = once(config["dialect"])
        link = getattr(dialect, "Link", None) or once("mqtt_session").Link
        self.link = link(config, self)

    def step(self):
        """Do one bounded piece of work; return True if there is more to do at once."""
        guarded_socket.hooks.feed()
        link = self.link
        busy = link.step()
        if self._progress or self.trial or self.next:
            self._handle_requests()
        if self.job:
            for more in self._update:
                busy = more or busy
                break
            else:  # an uncaught exception has ended it
                self._update = self._pieces()
        if self.queue and link.up:
            if not link.waiting:
                self.send()
        elif not (busy or self.job):
            let_go()
        return busy

    def _pieces(self):
        """Do a piece of the update at each resumption, for `step`; yield whether there is more.

        The frame of a function with this `try` would be too large for the stack and be allocated
        on the heap at each step. A generator's frame is allocated once.
        """
        while True:
            job = self.job
            more = True
            try:
                more = job.step()
                if not job.phase:  # handed over
                    self.burning, self.job = job.firmware, None
                    self._handed = time.ticks_ms()
            except Exception as error:
                self._handle_failure(error)
            job = None  # this generator must not keep the job in the heap
            yield more

    def _handle_requests(self):
        """Handle what the application reports, the trial, and the next push, if it is due."""
        if self._progress:
            report, self._progress = self._progress, None
            push = self.burning
            if push:
                if report[0] != "burning":
                    self.burning = None
                once("result_report").report_progress(self, push, *report)
        if self.trial:
            self.trial = self.trial.step(self._confirmed)
        if self.next and not self.awaits_application():
            self._begin_update()

    def awaits_application(self):
        """Return whether the application has firmware that it has not reported on yet."""
        return (
            self.burning
            and not self.job
            and time.ticks_diff(time.ticks_ms(), self._handed) < _BURN_MS
        )

    def run(self):
        """Step until `exit()`."""
        while not self.exiting:
            if not self.step():
                self.wait()
        self.close()

    def wait(self):
        """Wait until the next step is due or data arrives; other threads run meanwhile."""
        response = self.job and self.job.response
        if response:
            guarded_socket.wait(response, self.next_step_ms())
        else:
            self.link.wait(self.next_step_ms())

    def start(self):
        """Run in a separate thread; RuntimeError on a port without threads."""
        once("thread_runner").start(self)

    def serve(self):
        """Run as an asyncio task: `asyncio.create_task(client.serve())`."""
        return once("asyncio_runner").serve(self)

    def exit(self):
        """Make `run` end at the next step, so that an update can be resumed. Any thread may call
        this.
        """
        self.exiting = True

    def may_sleep_ms(self):
        """Return how many milliseconds the board may sleep; 0 while something is in progress.

        After a report of the version, the cloud has two seconds for a push. An update that waits
        also keeps the board awake: after a restart, the wait would start again.
        """
        now = time.ticks_ms()
        if (
            self.job
            or self.next
            or self.queue
            or self.trial
            or self.burning
            or not self.link.up
            or time.ticks_diff(now, self._acked) < _ANSWER_MS
        ):
            return 0
        return max(self.interval_ms() - time.ticks_diff(now, self._reported), 0)

    def next_step_ms(self):
        """Return how many milliseconds the next step can wait if no data arrives."""
        return 10 if self.job else 20

    def close(self):
        """Stop a download so that it can be resumed, and disconnect."""
        once("shutdown").leave(self)

    def update_progress(self, state, code=0, message=""):
        """Report "burning", "done" or "fail" for the firmware. Any thread may call this."""
        if state not in ("burning", "done", "fail"):
            raise ValueError("state must be one of burning, done, fail")
        self._progress = (state, code, message)

    def confirm(self):
        """Confirm the version on trial, if `trial.confirm` is "application"."""
        self._confirmed = True

    def log(self, level, event, **fields):
        """Call the log hook, and store the events of an update for the final report."""
        events = self.events
        if self.job:
            events.append(line(event, fields)[:200])
            while sum(len(kept) for kept in events) > _EVENTS:
                events.pop(0)
        if self._hook:
            self._hook(level, event, **fields)

    # Called by the session

    def on_up(self):
        """Report the running version after subscribing, before older messages."""
        self._sending = None
        self._quiet_at = time.ticks_ms() | 1
        self.ivota_cloud = False
        self.report_version(True)

    def on_idle(self):
        """Report the version when that is due; called twice a second while no data arrives."""
        if self._quiet_at and time.ticks_diff(time.ticks_ms(), self._quiet_at) > _QUIET_MS:
            self._quiet_at = 0
            self.log("warning", "no_answer", why=once("broker_error_texts").NO_ANSWER)
        if time.ticks_diff(time.ticks_ms(), self._reported) >= self.interval_ms():
            self.report_version()

    def on_message(self, payload):
        """Parse a message. A push waits in `next`, so that umqtt acknowledges it before the update
        begins.
        """
        self._quiet_at = 0
        once("message_handler").take(self, payload)

    def on_skipped(self, size):
        """Report a message that was too long."""
        self._quiet_at = 0
        once("message_handler").skipped(self, size)

    # Updates

    def _begin_update(self):
        """Begin the queued push; an unfinished update's files stay until their room is needed."""
        if self.job:
            self.job.stop()
        push = self.next
        self.next = self.burning = self.job = None
        self.events = []
        try:
            self.job = once("update").Job(self, push)
        except (MemoryError, ImportError):
            return self._no_heap(push)
        self.log("info", "update", version=push.version, size=push.size)

    def _handle_failure(self, error):
        """Let the job retry, or report why it failed."""
        job = self.job
        try:
            try:
                job.failed(error)
            except OtaError as final:
                self.burning = None
                once("result_report").failed(self, job.push, final)
                self.job = None
        # The reason does not fit in the heap beside the update.
        except (MemoryError, ImportError):
            self.burning = self.job = job.target = job.on_firmware = None
            job.release()
            self._no_heap(job.push)

    def _no_heap(self, push):
        """Report that the heap is full, which must not end the client.

        While `bundlefs` reads the bundle, a full heap can make a module seem missing.
        """
        self.log("error", "no_heap")
        try:
            self.report("fail", push, _FAILED, "no heap left", "refused")
        except MemoryError:  # the cloud pushes again
            pass
