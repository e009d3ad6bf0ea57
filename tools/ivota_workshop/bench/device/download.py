"""A board's main.py that carries out one download, and afterwards only logs that it is done."""

import time

from ivota import json_file
from ivota.update_client import Client

try:
    import _sim_record  # available where every flash operation is recorded
except ImportError:
    _sim_record = None


class Counted:
    """A connection whose received bytes are counted."""

    def __init__(self, raw):
        self._raw = raw

    def readinto(self, buffer, n):
        n = self._raw.readinto(buffer, n)
        if n:
            _sim_record.received += n
        return n

    def close(self):
        self._raw.close()


def log(_level, event, **fields):
    print("ivota:", event, " ".join("%s=%s" % pair for pair in sorted(fields.items())))


def on_firmware(firmware):
    print("app: has", firmware.version, firmware.md5)


def main():
    config = json_file.load("/ivota.json")
    client = Client(config, config["version"], on_firmware, log=log)
    counted = None
    while True:
        busy = client.step()
        # Wrap only after the head, which may have to wait: a poll needs the port's own socket.
        receiving = _sim_record and client.job and client.job.phase == "body_download"
        stream = client.job.response if receiving else None
        if stream and stream is not counted:
            counted = stream
            stream.raw = Counted(stream.raw)
        if not busy:
            time.sleep_ms(client.next_step_ms())


main()
