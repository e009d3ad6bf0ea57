"""A board's main.py whose client receives firmware while the heap is locked.

It locks the heap once the first block is on flash, and after each progress report, of which there
is at most one per second. The heap stays locked for the rest of that second, whatever the client
does: any allocation raises MemoryError and ends the program with a traceback. Prints
`locked: BLOCKS STEPS` for each time.
"""

import sys
import time

import micropython
from micropython import const

from ivota import json_file
from ivota.update_client import Client

_HELD_MS = const(950)
_BLOCK = const(4096)
_STEP = const(20480)  # bytes, more than a step receives

verified = False
told = 0  # the time of the last progress report


def log(_level, event, **fields):
    global verified
    print("ivota:", event, " ".join("%s=%s" % pair for pair in sorted(fields.items())))
    verified = verified or event == "verified"


def watch(client):
    """Note when a report is sent."""
    publish = client.publish

    def noted(*args):
        global told
        told = time.ticks_ms()
        return publish(*args)

    client.publish = noted


def hold(client, job):
    """Step with the heap locked; return how many blocks became durable, and the steps taken."""
    target = job.target
    steps = 0
    begun = target.position
    step = client.step
    micropython.heap_lock()
    try:
        # The last block has its own report, and afterwards the client verifies instead of
        # receiving.
        while (
            time.ticks_diff(time.ticks_ms(), told) < _HELD_MS
            and job.phase == "body_download"
            and target.size - target.position > _STEP
        ):
            if not step():
                time.sleep_ms(1)
            steps += 1
    finally:
        micropython.heap_unlock()
    assert job.phase == "body_download" and client.link.up
    return (target.position - begun) // _BLOCK, steps


def main():
    config = json_file.load("/ivota.json")
    client = Client(config, config["version"], print, log=log)
    watch(client)
    held = None
    while not verified:
        busy = client.step()
        job = client.job
        receives = job and job.phase == "body_download" and job.target.durable
        if receives and told != held and client.link.up:
            held = told
            print("locked: %d %d" % hold(client, job))
        elif not busy:
            time.sleep_ms(client.next_step_ms())
    client.close()


try:
    main()
except Exception as error:
    sys.print_exception(error)
    print("locked: failed")
