"""Makes a firmware of a patch as an update does: `apply_patch.py FOLDER BASE [SIZE MD5]`.

The patch is FOLDER/2.bin. Without SIZE and MD5 nothing is made: that is the start-up.
"""

import sys

from ivota import once
from ivota.messages import Push


class Nothing:
    """Holds what is set, as far as an update's phases look at it."""


def run(folder, base, size, md5):
    client = Nothing()
    client.config = {"keys": None}
    client.state = Nothing()
    client.state.active = base
    client.state.previous = None
    client.state.rejected = []
    client.log = lambda level, event, **fields: None
    job = Nothing()
    job.client = client
    job.stream = None
    job.firmware = push = Push("2", "", md5, size)
    push.path = folder + "/2.bin"
    push.payload_size = size
    step = once("expand").step
    job.phase = "expand"
    while job.phase == "expand":
        step(job)
    print(job.firmware.size)


if len(sys.argv) > 3:
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
