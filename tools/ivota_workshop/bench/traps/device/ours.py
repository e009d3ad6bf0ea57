"""Run ivota against it: `ours.py link|download|report PORT [OPTION=VALUE…]`, until all is well.

Prints as JSON how often it reconnected, the longest step without its wait for a core, when all
was well, and how many sockets are open after closing.
"""

import json
import os
import sys
import time

KIND = sys.argv[1]
PORT = int(sys.argv[2])
OPTIONS = dict(word.split("=", 1) for word in sys.argv[3:])
LOSES = int(OPTIONS["loses"])  # how many reconnects all is well after
STAY_MS = int(OPTIONS.get("stay", "0"))  # how long the connection must work
MANY = "many" in OPTIONS
TLS = "ca" in OPTIONS
LIMIT_MS = int(OPTIONS.get("limit", "60000"))
SIZE = 6000


class Events:
    def __init__(self):
        self.lost = []
        self.verified = False

    def __call__(self, _level, event, **fields):
        if event == "verified":
            self.verified = True
        if event in ("link_lost", "retry", "failed"):
            self.lost.append(fields["why"])


class Owner:
    """Publish when the link is up, and wait for a message and an acknowledgement."""

    def __init__(self):
        self.good = self.acked = False
        self.log = events

    def on_up(self):
        self.good = self.acked = False
        if "pid" in OPTIONS:
            link._client.pid = int(OPTIONS["pid"])

    def on_idle(self):
        pass

    def on_message(self, payload):
        self.good = bytes(payload) == b"good"

    def on_skipped(self, size):
        pass

    def on_acked(self):
        self.acked = True


def core_ms():
    """Return how long this process has waited for a core; 0 on a system that does not count it."""
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1]) // 1000000
    except OSError:
        return 0


def sockets():
    return len(list(os.ilistdir("/proc/self/fd")))


def step_link():
    link.step()
    if link.up and MANY and not events.lost:
        link.publish("t", "x" * 100000, 0)
    if link.up and not link.waiting and not owner.acked:
        link.publish("t", "x", 1)
    return link.up and owner.good and owner.acked


def step_download():
    client.step()
    return events.verified


def step_report():
    client.step()
    return not state.outbox


events = Events()
before = sockets()
if KIND == "link":
    from ivota.mqtt_session import Link

    owner = Owner()
    config = {
        "product_id": "P",
        "device_name": "ours",
        "device_secret": None,
        "mqtt": {
            "host": "localhost" if TLS else "127.0.0.1",
            "port": PORT,
            "tls": TLS,
            "ca": OPTIONS.get("ca"),
            "cert": None,
            "key": None,
            "user": None,
            "password": None,
            "keepalive_s": int(OPTIONS.get("keepalive", "1")),
            "max_message_bytes": 4096,
        },
        "http": {"timeout_s": 0.5},
        "retry": {"first_s": 0.001, "most_s": 0.001},
        "topics": {"update": OPTIONS.get("topic", "t")},
    }
    link = Link(config, owner)
    step, close = step_link, link.close
else:
    from ivota.state import load
    from ivota.update_client import Client

    folder = OPTIONS["folder"]
    config = {
        "product_id": "P",
        "device_name": "d",
        "mqtt": {"host": "127.0.0.1", "port": PORT},
        "http": {"timeout_s": 0.5, "deadline_s": 0.5, "ca": OPTIONS.get("ca")},
        "retry": {"first_s": 0.001, "most_s": 0.001},
    }
    state = load(folder + "/state.json")
    if KIND == "report":
        state.outbox = json.dumps({"progress": {"state": "done"}})
    os.mkdir(folder + "/firmware")
    client = Client(config, "1", print, log=events, firmware_dir=folder + "/firmware", state=state)
    step, close = step_report, client.close
    if KIND == "download":
        client.link.retry.rest(LIMIT_MS)  # the broker is not tested here
        url = ("https://localhost:%d/f" if TLS else "http://127.0.0.1:%d/f") % PORT
        push = {"type": "update_firmware", "version": "2", "url": url}
        push["md5sum"] = OPTIONS["md5"]
        push["file_size"] = SIZE
        client.on_message(json.dumps(push).encode())
        step = step_download

begun = time.ticks_ms()
longest = 0
while True:
    waited = core_ms()
    start = time.ticks_ms()
    done = step()
    now = time.ticks_ms()
    longest = max(longest, time.ticks_diff(now, start) - (core_ms() - waited))
    took = time.ticks_diff(now, begun)
    well = (done or TLS and "good" not in OPTIONS) and len(events.lost) >= LOSES
    if well and took >= STAY_MS or took > LIMIT_MS:
        break
    time.sleep_ms(2)
close()
found = {"well": well, "lost": events.lost, "step_ms_max": longest, "ms": took}
found["sockets_left"] = sockets() - before
print(json.dumps(found))
