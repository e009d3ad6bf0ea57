"""Measure steps, first idle, then in a download: `steps.py CONFIG FOLDER IDLE_S PUSH`."""

import json
import sys
import time

from ivota.state import load
from ivota.update_client import Client

CONFIG = json.loads(sys.argv[1])
FOLDER = sys.argv[2]
IDLE_MS = int(float(sys.argv[3]) * 1000)

events = []


def log(_level, event, **_fields):
    events.append(event)


client = Client(
    CONFIG, "1", print, log=log, firmware_dir=FOLDER, state=load(FOLDER + "/state.json")
)


def longest(done):
    most = 0
    until = time.ticks_add(time.ticks_ms(), 60000)
    while not done():
        start = time.ticks_us()
        busy = client.step()
        most = max(most, time.ticks_diff(time.ticks_us(), start))
        if not busy:
            time.sleep_ms(client.next_step_ms())
        assert time.ticks_diff(until, time.ticks_ms()) > 0, events
    return most / 1000


longest(lambda: client.link.up and not client.queue)
end = time.ticks_add(time.ticks_ms(), IDLE_MS)
idle = longest(lambda: time.ticks_diff(end, time.ticks_ms()) < 0)
client.on_message(sys.argv[4].encode())
download = longest(lambda: "verified" in events)
print(json.dumps({"idle_ms": idle, "download_ms": download}))
