"""Build firmware from a patch as an update does: `apply_patch.py FOLDER BASE`.

The patch is FOLDER/2.bin, the firmware becomes FOLDER/2.new. Without arguments, as a board's
main.py, it expects both in /firmware. With one argument it only starts, to measure the start-up.
"""

import os
import sys

from ivota import once
from ivota.firmware_offer import Push


class Nothing:
    """Accept any attribute, in place of the client that the phases of an update use."""


def run(folder, base):
    client = Nothing()
    client.config = {"keys": None}
    client.state = Nothing()
    client.state.active = base
    client.state.previous = None
    client.state.rejected = []
    client.log = lambda level, event, **fields: None
    job = Nothing()
    job.client = client
    job.work = None
    size = os.stat(folder + "/2.bin")[6]
    job.firmware = push = Push("2", "", "", size)
    push.path = folder + "/2.bin"
    push.payload_size = size
    step = once("patcher").step
    entered = []
    job.enter = entered.append
    while not entered:
        step(job)
    print("made", job.firmware.size)


if len(sys.argv) < 2:
    run("/firmware", "/firmware/0.1.bin")
elif len(sys.argv) > 2:
    run(sys.argv[1], sys.argv[2])
