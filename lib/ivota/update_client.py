"""The device's end of the cloud's update protocol; `step()` does one bounded piece of work."""

import time

from micropython import const

from ivota import OtaError, guarded_socket, line, once, tencent
from ivota.mqtt_session import Link

_FAILED = const(-5)
_BURN_MS = const(600000)  # how long a new push waits for the application to say how burning went
_ANSWER_MS = const(2000)  # how long the cloud may take to answer a report with a push
_QUIET_MS = const(60000)  # without a message from the cloud, until the log says so
_EVENTS = const(2048)  # characters kept
_TRIAL_REPORT_S = const(20)  # at most, between two reports of the version in a trial


class Client:
    """Reports the version that runs, and carries out the updates that the cloud asks for.

    `config` is the configuration as a dictionary (docs/formats.md), or a tuple of them, of which
    the last decides; `version` is what runs now, None for what the configuration says.
    `on_firmware(firmware)` gets each verified firmware, and reports how burning it went through
    `update_progress`; what it raises is reported as `fail -5`. Where it has an attribute `check`,
    that is called first, step by step, until it returns True. Without it bundles are installed,
    which ends `run` with `restart` set. `on_failure(error)` is told of each
    update that failed. `defer(what, push)`, with what "download" or "install", returns for how
    many seconds that must wait, 0 for not at all. `log(level, event, **fields)` is quiet by
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
        self.config = config = once("config").check(config)
        guarded_socket.ntp_host = config["ntp_host"]
        self.version = version or config["version"]
        self.on_firmware = on_firmware
        self.on_failure = on_failure
        self.defer = defer
        self.directory = firmware_dir or config["firmware_dir"]
        self.state = state = state or once("state").load()
        self.restart = False  # whether the board should be reset once `run` has ended
        self.exiting = False  # whether `exit()` was called
        self.events = []  # lines: what the log was told during the last update, 2 KiB at most
        self._hook = log
        self.dialect = once(config["dialect"])  # another than `tencent` stays beside it
        self.link = Link(config, self)
        self._confirmed = config["trial"]["confirm"] != "application"
        self.ivota_cloud = False  # whether the cloud has said in this session that it is ivota
        self.asked = None  # the id of the dialect's last question
        self._quiet_at = 0  # when the session began, in ticks, until a message comes
        self._progress = None  # what `update_progress` was told, from whatever thread
        self.queue = []  # (key, message) that the cloud has yet to get, the first to be sent first
        self._sending = None  # the entry of the queue that waits for its PUBACK
        self.job = None  # the update that is under way
        self.next = None  # a push that came in since
        self.burning = None  # the firmware that the application has
        self.trial = None  # of the version, or of the configuration: until the cloud answers
        if state.trial or state.ended:
            self.trial = once("trial").Trial(self, config["trial"]["limit_s"])
        if state.outbox:
            self.enqueue("final", state.outbox)
        self._reported = self._acked = time.ticks_ms()
        self._update = self._pieces()

    def step(self):
        """Do one bounded piece of work; True if there is more to do at once."""
        guarded_socket.feed()
        link = self.link
        busy = link.step()
        if self._progress or self.trial or self.next:
            self._look()
        if self.job:
            for more in self._update:
                busy = more or busy
                break
            else:  # something that is not caught has ended it
                self._update = self._pieces()
        if self.queue and link.up and not link.waiting:
            self.send()
        return busy

    def _pieces(self):
        """A piece of the update at each resumption, for `step`; whether there is more at once.

        The frame of a function with this `try` would be too large for the stack: it would come
        from the heap at each step. That of a generator is there once.
        """
        while True:
            job = self.job
            more = True
            try:
                if job.phase is not job.loaded:
                    job.load()
                more = job.step(job)
                if not job.phase:  # handed over
                    self.burning, self.job = job.firmware, None
                    self._handed = time.ticks_ms()
            except Exception as error:
                self._caught(error)
            job = None  # it is not to be kept from here
            yield more

    def _look(self):
        if self._progress:
            said, self._progress = self._progress, None
            push = self.burning
            if push:
                if said[0] != "burning":
                    self.burning = None
                once("final_report").told(self, push, *said)
        if self.trial:
            self.trial = self.trial.step(self._confirmed)
        if self.next and not self.awaits_application():
            self._begin()

    def awaits_application(self):
        """Whether the application has a firmware that it has not reported on yet."""
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
        """Wait until the next step is due, or something comes in; other threads run meanwhile."""
        stream = self.job and self.job.stream
        if hasattr(stream, "poll"):  # a connection, and not what a phase works with
            guarded_socket.wait(stream, self.idle_ms())
        else:
            self.link.wait(self.idle_ms())

    def start(self):
        """Run in a thread of its own; RuntimeError on a port without threads."""
        once("thread_runner").start(self)

    def serve(self):
        """Run as an asyncio task: `asyncio.create_task(client.serve())`."""
        return once("asyncio_runner").serve(self)

    def exit(self):
        """Tell `run` to end at the next step, in a state that can be resumed; safe anywhere."""
        self.exiting = True

    def idle(self):
        """For how many milliseconds the board may sleep; 0 while something is under way.

        After a report of the version the cloud gets two seconds for a push. An update that rests
        is under way, too: a board that starts anew would begin its rest again.
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
        return max(self._interval_ms() - time.ticks_diff(now, self._reported), 0)

    def idle_ms(self):
        """How long the next step can wait, in milliseconds, if nothing comes in."""
        return 10 if self.job else 20

    def close(self):
        """Keep what was downloaded, and leave the cloud."""
        once("shutdown").leave(self)

    def update_progress(self, state, code=0, message=""):
        """Report "burning", "done" or "fail" for the firmware handed over; safe anywhere."""
        if state not in ("burning", "done", "fail"):
            raise ValueError("state is one of burning, done, fail")
        self._progress = (state, code, message)

    def confirm(self):
        """Agree to the version on trial, where `trial.confirm` is "application"."""
        self._confirmed = True

    def log(self, level, event, **fields):
        """Tell the hook, and keep what concerns an update."""
        events = self.events
        if self.job:
            events.append(line(event, fields)[:200])
            while sum(len(kept) for kept in events) > _EVENTS:
                events.pop(0)
        if self._hook:
            self._hook(level, event, **fields)

    # What the link calls

    def on_up(self):
        """Subscribed: say which version runs, before anything that waits from before."""
        self._sending = None
        self._quiet_at = time.ticks_ms() | 1
        self.ivota_cloud = False
        self.report_version(True)

    def on_idle(self):
        """About twice a second, while the link is up and nothing comes in."""
        if self._quiet_at and time.ticks_diff(time.ticks_ms(), self._quiet_at) > _QUIET_MS:
            self._quiet_at = 0
            self.log("warning", "no_answer", why=once("broker_errors").NO_ANSWER)
        if time.ticks_diff(time.ticks_ms(), self._reported) >= self._interval_ms():
            self.report_version()

    def on_acked(self):
        """The broker has taken the message that was sent last."""
        entry = self._sending
        self._sending = None
        # What was queued since, under the same key, has yet to be sent.
        if entry is None or entry not in self.queue:
            return
        self.queue.remove(entry)
        self._acked = time.ticks_ms()
        if entry[0] == "final" and self.state.outbox:
            once("state_writer").sent(self.state)
        elif entry[0] == "version" and self.trial:
            self.trial.acked = True

    def on_message(self, payload):
        """Take in a message; no work is done here, because umqtt answers the broker after it."""
        self._quiet_at = 0
        once("push_parser").take(self, payload)

    def on_skipped(self, size):
        """A message was too long to be taken in."""
        self._quiet_at = 0
        once("push_parser").skipped(self, size)

    # Reports

    def publish(self, message, qos=0, key=None):
        """Send, if the cloud can be reached; `key` may have a topic of its own."""
        topics = self.config["topics"]
        self.link.publish(topics.get(key, topics["report"]), message, qos)

    def enqueue(self, key, message, first=False):
        """Queue for QoS 1; what a newer message of the same key says better is dropped."""
        self.queue = [entry for entry in self.queue if entry[0] != key]
        self.queue.insert(0 if first else len(self.queue), (key, message))

    def report_version(self, first=False):
        """Queue the version that runs; the cloud answers with a push when it wants another."""
        self._reported = time.ticks_ms()
        dialect = self.dialect
        self.enqueue("version", dialect.report_version(self.version), first)
        if dialect is not tencent:
            dialect.ask(self)

    def report(self, state, push, code=0, message="", key="final"):
        """Queue `burning`, `done` or `fail` for a push, and return the message.

        With another `key` it does not take the place of the report that the outbox keeps.
        """
        text = self.dialect.report_progress(state, push.version, None, code, message, push.echo)
        self.enqueue("burning" if state == "burning" else key, text)
        return text

    def tell(self, message, push=None, wait_ms=0):
        """Queue for an ivota cloud why a push has no effect, or must wait."""
        if self.ivota_cloud:
            try:
                self.enqueue("notice", once("push_notice").notice(message, push, wait_ms))
            except (MemoryError, ImportError):  # the update comes first
                pass

    def _interval_ms(self):
        seconds = self.config["report_interval_s"]
        # Its answers have QoS 0: one may be lost, and a trial waits for it.
        if self.trial and not self.trial.answered:
            seconds = min(seconds, _TRIAL_REPORT_S)
        return int(seconds * 1000)

    def send(self):
        """Send what is first in the queue; the broker must not owe an acknowledgement."""
        self._sending = self.queue[0]
        self.publish(self._sending[1], 1, self._sending[0])

    # Updates

    def _begin(self):
        """Start on the push that came in; an unfinished one goes when the room for it is made."""
        if self.job:
            self.job.drop()
        push = self.next
        self.next = self.burning = self.job = None
        self.events = []
        try:
            self.job = once("update").Job(self, push)
        except (MemoryError, ImportError):
            return self._no_heap(push)
        self.log("info", "update", version=push.version, size=push.size)

    def _caught(self, error):
        job = self.job
        try:
            try:
                job.failed(error)
            except OtaError as final:
                self.burning = None
                once("final_report").failed(self, job.push, final)
                self.job = None
        # Saying why does not fit beside what the update holds.
        except (MemoryError, ImportError):
            self.burning = self.job = job.step = job.target = job.taker = None
            job.hang_up()
            self._no_heap(job.push)

    def _no_heap(self, push):
        """Tell the cloud that alone, for the client must not end of it.

        Where a bundle is read by code, for want of heap a module of it seems not to be there.
        """
        self.log("error", "no_heap")
        try:
            self.report("fail", push, _FAILED, "no heap left", "refused")
        except MemoryError:  # the cloud asks again
            pass
