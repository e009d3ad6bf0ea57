"""A board's own main.py that receives firmware as a file and installs it, without a restart."""

import json
import os

from ivota import Client


def log(_level, event, **fields):
    print(event, fields)


def on_firmware(firmware):
    # The file is complete, its MD5 is verified, and the board has reported `burning`.
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
    version = None  # the version in the configuration

# Your own code must join the network before this.
client = Client(config, version, on_firmware, log=log)
client.run()  # or start() for a thread, await serve(), or step() in your own loop
