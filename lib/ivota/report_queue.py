"""Queue reports to the cloud, and send them one by one, each until the broker acknowledges it."""

import random
import time

from micropython import const

import ivota
from ivota import once, tencent

# Bytes of a push with a URL of 960 characters. An update has several copies of a URL at a time.
_SHORT_PUSH = const(1280)
_TRIAL_REPORT_MS = const(20000)  # maximum interval of version reports in a trial
_LONGEST_MS = const(500000000)  # ticks measure up to six days


class ReportQueue:
    """The reports to the cloud: the base of `Client`, which sets configuration and link."""

    def __init__(self):
        # `Client` sets these.
        self.config = self.dialect = self.link = self.state = self.trial = self.version = None
        self.ivota_cloud = False  # whether the cloud said in this session that it is ivota
        self.application = None  # the running bundle's name, which only an ivota cloud is told
        self.chip_id = None  # the number of an ESP32's chip, which only an ivota cloud is told
        self.report_interval_s = 0  # what an ivota cloud has set; 0: `config` applies
        self.introduced = False  # whether an ivota cloud knows the board's properties
        self.after_watchdog = False  # whether the cloud must still learn of a watchdog reset
        self.asked = None  # the id of the dialect's last question
        self.queue = []  # (key, message), in the order of sending
        self._sending = None  # the queue's entry that waits for its PUBACK
        # When the version was last queued, and when a message was last acknowledged, in ticks.
        self._reported = self._acked = time.ticks_ms()
        self._spread = 1000  # the current interval's milliseconds per configured second

    def publish(self, message, qos=0, key=None):
        """Send a message if the link is up, to the topic for `key` if it has its own."""
        topics = self.config["topics"]
        self.link.publish(topics.get(key, topics["report"]), message, qos)

    def enqueue(self, key, message, first=False):
        """Queue a message with QoS 1; it replaces an older one with the same key."""
        self.queue = [entry for entry in self.queue if entry[0] != key]
        self.queue.insert(0 if first else len(self.queue), (key, message))

    def report_version(self, first=False):
        """Queue the running version; the cloud answers with a push if it wants another one."""
        self._reported = time.ticks_ms()
        # By up to an eighth more or less: boards that lost the same broker would otherwise report
        # in the same second from then on.
        self._spread = 875 + (random.getrandbits(8) * 250 >> 8)
        dialect = self.dialect
        config = self.config
        most = config["mqtt"]["max_message_bytes"]
        if not ivota.roomy:
            most = min(most, _SHORT_PUSH)
        own = self.application, config["hardware"], most, self.chip_id
        more = own if self.ivota_cloud else ()
        self.enqueue("version", dialect.report_version(self.version, *more), first)
        if dialect is not tencent:
            dialect.ask(self)

    def report(self, state, push, code=0, message="", key="final"):
        """Queue `burning`, `done` or `fail` for a push, and return the message.

        With another `key`, it does not replace the report in the outbox.
        """
        text = self.dialect.report_progress(state, push.version, None, code, message, push.echo)
        self.enqueue("burning" if state == "burning" else key, text)
        return text

    def introduce(self):
        """Tell an ivota cloud the board's properties once, without waiting for the next report."""
        if self.after_watchdog:
            self.after_watchdog = False
            self.tell("the watchdog reset the board", key="reset")
        known = self.application or self.config["hardware"] or self.chip_id is not None
        if known and not self.introduced:
            self.introduced = True
            self.report_version()

    def tell(self, message, push=None, wait_ms=0, key="notice"):
        """Tell an ivota cloud why a push has no effect or must wait, or why the board restarted.

        A message replaces an older one with the same key.
        """
        if self.ivota_cloud:
            try:
                self.enqueue(key, once("status_report").notice(message, push, wait_ms))
            except (MemoryError, ImportError):  # the update has priority
                pass

    def interval_ms(self):
        """Return the milliseconds from the last report of the version to the next one."""
        seconds = self.ivota_cloud and self.report_interval_s
        seconds = seconds or self.config["report_interval_s"]
        # The cloud's answers have QoS 0: one can be lost, and a trial waits for it.
        waits = self.trial and not self.trial.answered
        return min(int(seconds * self._spread), _TRIAL_REPORT_MS if waits else _LONGEST_MS)

    def send(self):
        """Send the first message of the queue; no acknowledgement may be pending."""
        self._sending = self.queue[0]
        self.publish(self._sending[1], 1, self._sending[0])

    def on_acked(self):
        """Handle the broker's acknowledgement of the last message."""
        entry = self._sending
        self._sending = None
        # A newer message with the same key must still be sent.
        if entry is None or entry not in self.queue:
            return
        self.queue.remove(entry)
        self._acked = time.ticks_ms()
        if entry[0] == "final" and self.state.outbox:
            once("state").sent(self.state)
        elif entry[0] == "version" and self.trial:
            self.trial.acked = True
