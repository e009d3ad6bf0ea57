"""Run one update, for counting its instructions: `count_update.py CONFIG FOLDER [PUSH]`.

Without a push it ends once the version is reported, so that the cost until then can be
subtracted. Whenever it has nothing to do it prints that, and waits for a line from the host, so
no clock determines how long it waits. This exchange is counted too, so it is kept small.
"""

import json
import sys

from ivota.state import load
from ivota.update_client import Client

CONFIG = json.loads(sys.argv[1])
FOLDER = sys.argv[2]
say = sys.stdout.buffer.write
hear = sys.stdin.buffer.readinto
heard = bytearray(1)


def on_firmware(_firmware):
    client.update_progress("done")


client = Client(CONFIG, "1", on_firmware, firmware_dir=FOLDER, state=load(FOLDER + "/state.json"))


def until(done):
    while not done():
        if not client.step():
            say(b"idle\n")
            hear(heard)


until(lambda: client.link.up and not client.queue)
if len(sys.argv) > 3:
    client.on_message(sys.argv[3].encode())
    until(lambda: client.version != "1" and not client.queue)
