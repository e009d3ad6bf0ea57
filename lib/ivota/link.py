"""One MQTT session on `umqtt.simple`: keep-alive, acknowledgements, subscription, back-off."""

import time

import umqtt.simple as umqtt
from micropython import const

from ivota import net
from ivota.errors import describe
from ivota.retry import Backoff

_PUBACK = const(0x40)
_SUBACK = const(0x90)
_IDS = const(65000)


class Link:
    """The session with the broker; `step()` does one bounded piece of work.

    `owner.on_message(payload)` is called for each message on `topic`, `on_up()` after each
    subscription, `on_acked()` when the broker has taken the message last sent with QoS 1.
    `sign_in()` gives client id, user name and password for a connection.
    """

    def __init__(self, mqtt, timeout_s, retry, sign_in, topic, owner, log):
        self._mqtt = mqtt
        self._timeout_s = timeout_s
        self._sign_in = sign_in
        self._topic = topic.encode()
        self._owner = owner
        self._log = log
        self._client = None
        self._stream = None
        self._retry = Backoff(retry["first_s"], retry["most_s"])
        self._beat_ms = mqtt["keepalive_s"] * 500
        self.waiting = 0  # packet id of the QoS 1 message that is not acknowledged yet
        self.up = False  # connected and subscribed
        self._paused = False

    def step(self):
        """Connect when due, take in at most one packet, ping; True if something was done."""
        try:
            if self._stream is None:
                if self._paused or self._retry.left_ms() or not net.online():
                    return False
                self._connect()
                return True
            if self._stream.ready():
                self._stream.begin()
                self._take(self._client.check_msg())
                return True
            self._beat()
        # Whatever umqtt raises means that the stream can't be trusted any more.
        except Exception as error:
            self.lost(error)
        return False

    def left_ms(self):
        """Milliseconds until this link wants its next step, if nothing comes in."""
        return self._retry.left_ms() if self._stream is None else 1000

    def _connect(self):
        mqtt = self._mqtt
        client_id, user, password = self._sign_in()
        self._log("info", "connecting", host=mqtt["host"], port=mqtt["port"])
        self._stream = net.Stream(
            mqtt["host"],
            mqtt["port"],
            self._timeout_s,
            mqtt["ca"] if mqtt["tls"] else None,
            mqtt["max_message_bytes"],
        )
        # umqtt counts characters where MQTT counts bytes.
        self._client = client = umqtt.MQTTClient(
            client_id.encode(),
            mqtt["host"],
            mqtt["port"],
            user and user.encode(),
            (password or "").encode(),
            mqtt["keepalive_s"],
        )
        client.set_callback(self._message)
        net.lend(self._stream, umqtt, client.connect)
        self._ping_at = self._asked = time.ticks_ms()
        self._pinged = False
        self._write(self._subscribe)

    def _subscribe(self):
        """With QoS 1. Up to 1.7.0 umqtt's own can't say a length beyond 127."""
        self._client.pid += 1
        topic = self._topic
        size = 5 + len(topic)
        head = bytes([0x82, size & 0x7F | 0x80, size >> 7]) if size > 127 else bytes([0x82, size])
        body = self._client.pid.to_bytes(2, "big") + len(topic).to_bytes(2, "big") + topic
        self._stream.write(head + body + b"\x01")

    def _write(self, function, *args):
        """Let umqtt write a packet, but never wait for its acknowledgement: `step` reads that."""
        self._stream.begin()
        self._stream.write_only = True
        if self._client.pid > _IDS:
            self._client.pid = 0
        try:
            function(*args)
        except net.WriteOnly:
            pass
        finally:
            self._stream.write_only = False

    def _take(self, op):
        if op == _PUBACK:
            packet = self._stream.read(3)
            if packet[1] << 8 | packet[2] == self.waiting:
                self.waiting = 0
                self._owner.on_acked()
        elif op == _SUBACK:
            if self._stream.read(4)[3] & 0x80:
                raise OSError("subscription refused")
            self.up = True
            self._retry.reset()
            self._log("info", "connected")
            self._owner.on_up()
        elif op is not None and op & 0xF0 != 0x30:
            raise OSError("packet %02x" % op)

    def _message(self, topic, payload):
        if topic == self._topic:
            self._owner.on_message(payload)

    def _beat(self):
        """Ping every half keep-alive; give up on a broker that owes an answer for as long."""
        now = time.ticks_ms()
        limit = self._beat_ms
        if self._pinged and self._stream.heard:
            self._pinged = False
        ping_due = time.ticks_diff(now, self._ping_at) > limit
        owing = self.waiting or not self.up
        if ping_due and self._pinged or owing and time.ticks_diff(now, self._asked) > limit:
            raise OSError("no answer from the broker")
        if ping_due:
            self._stream.heard = False
            self._pinged = True
            self._ping_at = now
            self._write(self._client.ping)

    def pause(self, flag):
        """Leave the broker until called with False: some boards hold one TLS session at most."""
        if flag and not self._paused:
            self.close(True)
        self._paused = flag

    def publish(self, topic, payload, qos):
        """Send now; False if the link is down. With QoS 1, `waiting` is set until the PUBACK."""
        if not self.up:
            return False
        client = self._client
        try:
            self._write(client.publish, topic.encode(), payload.encode(), False, qos)
        except Exception as error:
            self.lost(error)
            return False
        if qos:
            self.waiting = client.pid
            self._asked = time.ticks_ms()
        return True

    def lost(self, error):
        """Close, and be due again after a wait."""
        self.close()
        self._retry.failed()
        self._log("warning", "link_lost", why=describe(error), again_ms=self._retry.left_ms())

    def close(self, politely=False):
        """Close the session; the next `step` opens a new one when due."""
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
        self.waiting = 0
