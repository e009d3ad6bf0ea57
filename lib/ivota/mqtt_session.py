"""One MQTT session on `umqtt.simple`: keep-alive, acknowledgements, back-off."""

import time

from micropython import const

from ivota import Backoff, describe, guarded_socket, once

_IDS = const(65000)
_CHECK_MS = const(500)  # between checks of the keep-alive


class Link:
    """The session with the broker; `step()` does one bounded piece of work.

    It calls `owner.on_up()` after each subscription, `on_message(payload)` for each message on
    its topics, `on_skipped(size)` for one that is too long, `on_acked()` when the broker has
    acknowledged the last message with QoS 1, `on_idle()` regularly, and `log` for events. `paused`
    prevents a connection. The wait before the next session grows until a session has lasted for
    `retry.most_s`.
    """

    def __init__(self, config, owner):
        self.config = config
        self._owner = owner
        self._topics = config["topics"]["update"].encode().split(b"\n")
        self._client = None
        self._stream = None
        self.retry = Backoff(config["retry"]["first_s"], config["retry"]["most_s"])
        self.waiting = None  # packet id of the unacknowledged QoS 1 message
        self.up = False  # connected and subscribed
        self.paused = False  # prevents a connection

    def step(self):
        """Connect if due, read at most one packet, ping; return True if something was done."""
        stream = self._stream
        if stream and time.ticks_diff(self._check_at, time.ticks_ms()) > 0:
            for _ in stream.poll.ipoll(0):
                return self._advance()
            return False
        return self._advance()

    def wait(self, ms):
        """Wait for this time, or until the broker sends data."""
        guarded_socket.wait(self._stream, ms)

    def _advance(self):
        """Connect, handle a packet that has arrived, or keep the session alive."""
        try:
            if self._stream is None:
                if self.paused or self.retry.left_ms() or not guarded_socket.hooks.online():
                    return False
                mqtt = self.config["mqtt"]
                self._owner.log("info", "connecting", host=mqtt["host"], port=mqtt["port"])
                self._stream, self._client = once("session_setup").dial(
                    self.config, self._topics, self._deliver
                )
                # In ticks: the last ping, the last packet that the broker must acknowledge, and
                # the next check of the keep-alive.
                self._ping_at = self._asked = self._check_at = time.ticks_ms()
                self._pinged = False
                return True
            if self._stream.ready():
                self._stream.begin()
                packet = self._client.check_msg()  # calls `_deliver` for a message
                self._handle_packet(packet)
                return True
            self._keep_alive()
        # After any error of umqtt, the stream can't be trusted any more.
        except Exception as error:
            self._lost(error)
        return False

    def _write(self, function, *args):
        """Let umqtt write a packet without waiting for its acknowledgement, which `step` reads."""
        stream = self._stream
        stream.begin()
        stream.write_only = True
        if self._client.pid > _IDS:
            self._client.pid = 0
        try:
            function(*args)
        except guarded_socket.WriteOnly:
            pass
        finally:
            stream.write_only = False

    def _handle_packet(self, kind):
        """Handle a packet that umqtt has begun to read; None and 0x30 (PUBLISH) need nothing."""
        if kind is None or kind & 0xF0 == 0x30:
            return
        if kind == 0x40:  # PUBACK
            packet = self._stream.read(3)
            if packet[1] << 8 | packet[2] == self.waiting:
                self.waiting = None
                self._owner.on_acked()
        elif kind == 0x90:  # SUBACK
            if max(self._stream.read(3 + len(self._topics))[3:]) & 0x80:
                raise OSError("subscription refused")
            self.up = True
            self._up_at = time.ticks_ms()
            self._owner.log("info", "connected")
            self._owner.on_up()
        else:
            raise OSError("unexpected packet %02x" % kind)

    def _deliver(self, topic, payload):
        """Pass a message on to the owner; umqtt calls this in `check_msg`."""
        skipped = self._stream.skipped
        self._stream.skipped = 0
        # Some brokers (RabbitMQ) deliver topics with slashes instead of dots.
        if topic in self._topics or topic in (
            b"\n".join(self._topics).replace(b".", b"/").split(b"\n")
        ):
            if skipped and not payload:
                self._owner.on_skipped(skipped)
            else:
                self._owner.on_message(payload)

    def _keep_alive(self):
        """Ping twice per keep-alive interval; OSError if the broker does not answer in time."""
        now = time.ticks_ms()
        self._check_at = time.ticks_add(now, _CHECK_MS)
        if self.up:
            self._owner.on_idle()
            # Two clients with the same id would end each other's sessions in a fast loop.
            lasted = time.ticks_diff(now, self._up_at)
            if self.retry.tries and lasted > int(self.retry.most_s * 1000):
                self.retry.reset()
        limit = self.config["mqtt"]["keepalive_s"] * 500
        if self._stream.heard:
            self._pinged = False
        ping_due = time.ticks_diff(now, self._ping_at) >= limit
        owing = self.waiting or not self.up
        if ping_due and self._pinged or owing and time.ticks_diff(now, self._asked) > limit:
            raise OSError("no answer from the broker")
        if ping_due:
            self._stream.heard = False
            self._pinged = True
            self._ping_at = now
            self._write(self._client.ping)

    def publish(self, topic, payload, qos, retain=False):
        """Send now; return False if the link is down. With QoS 1, `waiting` is set until the
        PUBACK.
        """
        if not self.up:
            return False
        try:
            self._write(self._client.publish, topic.encode(), payload.encode(), retain, qos)
        except Exception as error:
            self._lost(error)
            return False
        if qos:
            self.waiting = self._client.pid
            self._asked = time.ticks_ms()
        return True

    def _lost(self, error):
        """Log why the session has ended, and close it; reconnect after a wait."""
        try:
            why = once("broker_error_texts").explain(error, self)
        except (MemoryError, ImportError):
            why = describe(error)
        self.close()
        self.retry.failed()
        self._owner.log("warning", "link_lost", why=why, again_ms=self.retry.left_ms())

    def close(self, politely=False):
        """Close the session; the next `step` opens a new one if due."""
        stream = self._stream
        if stream is not None:
            if politely and self.up:
                try:
                    self._write(stream.write, b"\xe0\0")
                except OSError:
                    pass
            stream.close()
        self._client = self._stream = None
        self.up = False
        self.waiting = None
