"""Hash a file on the host's file system: `rehash.py bare PATH`, or as part of an update:

`rehash.py ours CONFIG FOLDER PUSH`: all bytes of the firmware are on flash, but none is hashed.
"""

import hashlib
import json
import sys
import time


def bare(path):
    buffer = bytearray(4096)  # like ours, if the heap has room
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while file.readinto(buffer):
            digest.update(buffer)
    digest.digest()


def ours(config, folder, push):
    from ivota.state import load
    from ivota.update_client import Client

    events = []

    def log(_level, event, **_fields):
        events.append(event)

    state = load(folder + "/state.json")
    client = Client(json.loads(config), "0.1", print, log=log, firmware_dir=folder, state=state)
    while not client.link.up or client.queue:
        if not client.step():
            time.sleep_ms(20)
    client.on_message(push.encode())
    while "verified" not in events:
        if not client.step():
            time.sleep_ms(20)
    assert "retry" not in events and "failed" not in events, events


if sys.argv[1] == "bare":
    bare(sys.argv[2])
else:
    ours(*sys.argv[2:])
