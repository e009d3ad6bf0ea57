"""Show the board in Home Assistant, in a session of its own with a broker.

The session with the cloud is independent: whatever this broker does, updates continue. The broker
can consent to the update on offer, but can't choose another one.
"""

import binascii
import os
import time

from micropython import const

from ivota import once

_BIRTH = const(b"homeassistant/status")  # Home Assistant says `online` here when it starts
_ONLINE = const(b"online")
_MOST = const(256)  # bytes of a message or a topic from the broker
_TIMEOUT_S = const(5)  # of a connection: an update must not wait long for this broker
_LAPSE = const(3)  # reports without a further push, after which an offer has lapsed
_UNSEEN = const(-1)


def attach(client):
    """Give a client that has not connected yet a link that also keeps the entity's session."""
    client.link = _beside(type(client.link))(client.config, client)


def _beside(link):
    """Return a subclass of `link`, the cloud's `Link`, that also keeps the broker's session."""

    class Link(link):  # type: ignore[misc,valid-type]
        """The cloud's link, which in the mode `install` holds each push back for `Entity`."""

        def __init__(self, config, owner):
            link.__init__(self, config, owner)
            # A dialect without MQTT has another `Link`. Two copies of one module cost heap.
            other = getattr(owner.dialect, "Link", None)
            self.entity = Entity(config, owner, once("mqtt_session").Link if other else link)

        def step(self):
            entity = self.entity
            entity.note_result()
            busy = link.step(self)
            if entity.client.next and entity.mode == "install":
                entity.hold()
            return entity.link.step() or busy

        def close(self, politely=False):
            link.close(self, politely)
            if politely:
                # Without a DISCONNECT, so that the broker publishes the will: `offline`.
                self.entity.link.close()

    return Link


class Entity:
    """The board's update entity, and the owner of the session with its broker.

    The board sends all messages again in each session, and whenever Home Assistant starts, because
    the broker may have lost them. Each message waits for the acknowledgement of the last one.
    """

    def __init__(self, config, client, link):
        section = config["home_assistant"]
        messages = once("home_assistant_payloads")
        self.client = client
        self.mode = section["mode"]
        self.node = node = messages.node(config)
        self.base = "ivota/%s/%s" % (config["product_id"], config["device_name"])
        self.offer = None  # a push that nobody has agreed to
        self._offered_at = 0
        self._agreed = None  # the version that somebody wants
        self.result = None  # (version, reason) of an update that failed
        self._outbox = _UNSEEN
        self.token = ""  # in the command, so that one of an earlier session has no effect
        self._due = []  # messages that have to be sent, in this order
        self._shown = None  # the facts in the last state
        broker = dict(section)
        broker["max_message_bytes"] = _MOST
        topics = _BIRTH.decode()
        if self.mode == "install":
            topics += "\n" + self.base + "/install"
        if self.mode != "remove":
            broker["set_last_will"] = ((self.base + "/status").encode(), b"offline", True, 1)
        self.link = link(
            {
                "product_id": node,
                "device_name": "",
                "device_secret": None,
                "mqtt": broker,
                "http": {"timeout_s": min(config["http"]["timeout_s"], _TIMEOUT_S)},
                "retry": config["retry"],
                "topics": {"update": topics},
            },
            self,
        )

    # The update on offer

    def hold(self):
        """Take the client's next push as an offer, unless somebody has agreed to it."""
        client = self.client
        push = client.next
        if push.version == self._agreed or self._has_begun(push):
            self._agreed = push.version
            self.offer = None
            return
        client.next = None
        if client.job:  # the cloud wants another version now
            client.job.stop()
            client.job = None
        if not push.same_firmware(self.offer):
            client.log("info", "offer", version=push.version)
            client.tell("waiting for Install in Home Assistant", push)
        self.offer = push
        self._offered_at = time.ticks_ms()

    def _has_begun(self, push):
        """Return whether its download began before the last start, so somebody had agreed."""
        stem = self.client.directory + "/" + once("firmware_folder").file_stem(push.version)
        known = once("json_file").load(stem + ".json")
        return known and known.get("version") == push.version and known.get("md5sum") == push.md5

    def _agree(self):
        """Ask the cloud or the channel for the offer again: it begins unless it was withdrawn."""
        client = self.client
        if self.offer:
            self._agreed = self.offer.version
            client.log("info", "install_pressed", version=self._agreed)
            client.report_version()
            self._send()

    def _let_lapse(self):
        """Forget an offer that the cloud has stopped repeating after each report."""
        wait_ms = min(self.client.interval_ms(), 86400000) * _LAPSE
        if self.offer and time.ticks_diff(time.ticks_ms(), self._offered_at) > wait_ms:
            self.offer = None

    def note_result(self):
        """Remember the last update's failure: its report leaves the outbox when it is sent."""
        state = self.client.state
        text = state.outbox or state.last
        if text is not self._outbox:
            self._outbox = text
            if text:
                self.result = once("home_assistant_payloads").failure(text)

    # What is shown

    def _facts(self):
        """Return (version, latest version, whether it is being installed, percent, reason)."""
        client = self.client
        trial = client.state.trial
        job = client.job
        push = job.push if job else client.awaits_application() and client.burning
        percent = None
        if push:
            why = "installing"
            if job and job.target:
                why = "downloading"
                percent = job.target.position * 20 // push.size * 5  # each step is a message
            if job and job.wait_reason:
                why = job.wait_reason
            return client.version, push.version, True, percent, why
        if trial and trial["version"] == client.version:
            return client.version, client.version, True, None, "on trial until the cloud answers"
        if self.offer:
            asked = self.offer.version == self._agreed
            why = "requesting the update" if asked else "available: press Install"
            return client.version, self.offer.version, asked, None, why
        why = "no update available"
        if self.result:
            why = "the update to %s failed: %s" % self.result
        return client.version, client.version, False, None, why

    def _send(self):
        """Send the next message that is due, unless one is on its way."""
        if self.link.waiting:
            return
        if self.mode != "remove":
            facts = self._facts()
            if facts != self._shown:
                self._shown = facts
                if "state" not in self._due:
                    self._due.insert(0, "state")
        if self._due:
            kind = self._due.pop(0)  # a new session sends everything again
            topic = self.base + "/" + kind
            if kind == "config":
                topic = "homeassistant/update/%s/config" % self.node
            text = ""  # which removes the message
            if self.mode != "remove":
                text = once("home_assistant_payloads").message(kind, self, self._shown)
            self.link.publish(topic, text, 1, True)

    # Called by the session

    def on_up(self):
        """Send everything, the availability last."""
        self.token = binascii.hexlify(os.urandom(4)).decode()
        self._repeat()

    def _repeat(self):
        self._due = ["config", "state", "status"]
        self._send()

    def on_message(self, payload):
        """Take what Home Assistant says; anything else has no effect."""
        if payload == _ONLINE:
            self._repeat()
        elif self.mode == "install" and payload == self.command().encode():
            self._agree()

    def command(self):
        """Return the message that the button sends."""
        return "INSTALL " + self.token

    def on_skipped(self, _size):
        """Ignore a message that is too long."""

    def on_acked(self):
        """Send the next message."""
        self._send()

    def on_idle(self):
        """Send what has changed, twice a second at most."""
        self._let_lapse()
        self._send()

    def log(self, level, event, **fields):
        """Write the session's events to the client's log, under names of their own."""
        self.client.log(level, "home_assistant_" + event, **fields)
