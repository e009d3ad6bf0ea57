"""A board's main.py: an application that stages firmware on FAT and burns it itself."""

import hashlib
import time

from ivota import json_file
from ivota.update_client import Client


def log(_level, event, **fields):
    print("ivota:", event, fields)


def on_firmware(firmware):
    digest = hashlib.md5()
    with open(firmware.path, "rb") as file:
        while True:
            data = file.read(4096)
            if not data:
                break
            digest.update(data)
    print("has:", "".join("%02x" % byte for byte in digest.digest()))
    client.update_progress("done")


config = json_file.load("/ivota.json")
client = Client(config, config.get("version"), on_firmware, log=log)
while True:
    if not client.step():
        time.sleep_ms(client.next_step_ms())
