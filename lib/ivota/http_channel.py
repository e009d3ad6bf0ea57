"""The dialect of a channel (docs/channel.md): a signed index and firmware, without a broker.

Each report of the version fetches the index. If the index offers an update, the client receives it
as a push.
"""

import time

from micropython import const

from ivota import Backoff, OtaError, describe, guarded_socket, once

_CHECK_MS = const(500)  # interval of `on_idle`
_LEAST_S = const(10)  # minimum of `interval_s`
_TOO_MANY = const(429)
_VERSION = "version"

# Not topics: they tell `Link` what to do with a report.
TOPICS = {"report": "report", "version": _VERSION}


def report_version(version):
    """Create the report that makes `Link` fetch the index."""
    return version


def ask(client):
    """Do nothing: the report of the version already fetches the index."""


def is_answer(message, version, _asked):
    """Return whether the message says that `version` runs and the index was read."""
    return message.get("running") == version


def update_firmware(message):
    """Return the push in the message, or None."""
    return message.get("push")


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """Create a report for `channel.report_url`, in the format of `tencent`."""
    return once("tencent").report_progress(state, version, percent, code, message, echo)


class Link:
    """Read a channel in place of a broker, like `mqtt_session.Link` to its caller.

    The link is up while the board is on a network. A report of the version fetches the index; any
    other report is posted to `channel.report_url`, if configured. After a failure, the link is
    down until the back-off ends.
    """

    def __init__(self, config, owner):
        self.config = config
        self._owner = owner
        self.retry = Backoff(config["retry"]["first_s"], config["retry"]["most_s"])
        self.waiting = None  # (topic, message) of the report to handle next
        self.up = False
        self.paused = False
        self.etag = None  # of the last index, if it had nothing for this board

    def step(self):
        """Fetch the index or post a report, in bounded time; return True if anything was done."""
        owner = self._owner
        if not self.up:
            if self.retry.left_ms() or not guarded_socket.hooks.online():
                return False
            self.up = True
            self._check_at = time.ticks_ms()
            owner.on_up()
            return True
        # The heap may have no room for two connections, or for a connection beside a patch.
        job = owner.job
        if self.waiting and not (job and (job.response or job.work)):
            try:
                self._handle(*self.waiting)
            except Exception as error:
                self._lost(error)
            return True
        now = time.ticks_ms()
        if time.ticks_diff(now, self._check_at) >= _CHECK_MS:
            self._check_at = now
            owner.on_idle()
        return False

    def _handle(self, topic, message):
        owner = self._owner
        found = None
        if topic == _VERSION:
            found = once("release_index").fetch(self, owner)
        elif self.config["channel"]["report_url"]:
            post(self.config, message)
        if message == owner.state.outbox:  # no cloud stores it
            owner.state.last = message
        self.waiting = None
        owner.on_acked()
        if not owner.queue:  # no failed report is left
            self.retry.reset()
        if found:
            owner.on_message(found)

    def wait(self, ms):
        """Wait for `ms` milliseconds."""
        guarded_socket.wait(None, ms)

    def publish(self, topic, payload, qos):
        """Handle a report in a later step; drop progress, which has QoS 0."""
        if self.up and qos:
            self.waiting = (topic, payload)
        return self.up

    def _lost(self, error):
        self.close()
        self.retry.failed()
        why = describe(error)
        self._owner.log("warning", "channel", why=why, again_ms=self.retry.left_ms())

    def close(self, _politely=False):
        """Go down; no connection is open between two steps."""
        self.up = False
        self.waiting = None


def post(config, message):
    """POST `message`, which is JSON, with the board's name in a header.

    Raises OtaError, or OSError if a retry may help. A permanent refusal counts as success, so that
    a broken report server never blocks updates.
    """
    http_request = once("http_request")
    http = config["http"]
    name = config["product_id"] + "/" + config["device_name"]
    headers = {"Content-Type": "application/json", "X-Ivota-Device": name}
    stream = http_request.open_request(
        "POST", config["channel"]["report_url"], http, headers, None, message.encode()
    )
    try:
        stream.begin()
        status = once("response_check").read_head(stream, {}, 0)
    finally:
        stream.close()
    if status >= 500 or status == _TOO_MANY:
        raise OtaError(-1, "report_url: HTTP %d" % status, True)


def check(config, merge, error):
    """Check `config["channel"]` and set its defaults; set it to None if its url is empty.

    A channel needs `keys`, but no broker. `channel.keys` verify the index; the default is `keys`.
    `merge` is config's. Raises `error`.
    """
    channel = {"url": "", "track": "stable", "interval_s": 3600, "report_url": None, "keys": []}
    if config["channel"] is not None:
        merge(config["channel"], channel, "channel.")
    if not channel["url"] and config["dialect"] != "http_channel":
        config["channel"] = None
        return
    for name in ("url", "report_url"):
        url = channel[name]
        if url is None:
            continue
        try:
            secure = once("url").split_url(url)[0]
        except OtaError as problem:
            raise error("channel.%s: %s" % (name, problem.message))
        if secure and not config["http"]["ca"]:
            raise error("http.ca is missing: https needs it for verification")
    if not config["keys"]:
        raise error("keys is missing: a channel must be signed with one of them")
    config["channel"] = channel
    keys = config["channel"]["keys"]
    if not all([type(path) is str and path for path in keys]):
        raise error("channel.keys must be a list of paths")
    channel["keys"] = keys or config["keys"]
    seconds = config["channel"]["interval_s"]
    if seconds < _LEAST_S:
        raise error("channel.interval_s must be at least %d" % _LEAST_S)
    config["dialect"] = "http_channel"
    config["report_interval_s"] = seconds
