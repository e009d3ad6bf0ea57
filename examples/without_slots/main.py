"""A board's own main.py: takes firmware as a file and burns it itself; no slots, no restart."""

import json
import os

from ivota.update_client import Client


def log(_level, event, **fields):
    print(event, fields)


def on_firmware(firmware):
    # The whole file is on flash, its MD5 is right, and the cloud knows that burning begins.
    os.rename(firmware.path, "/model.bin")
    with open("/version", "w") as file:
        file.write(firmware.version)
    client.update_progress("done")  # or ("fail", -5, "why"), or raise an exception


with open("/ivota.json") as file:
    config = json.load(file)
try:
    with open("/version") as file:
        version = file.read()
except OSError:
    version = None  # what the configuration says

# On the network already: your own code joins it, as ever.
client = Client(config, version, on_firmware, log=log)
client.run()  # or start(), a thread; or await serve(); or step() in a loop of your own
