"""Run the update client and the application together, until the board has to restart."""

import gc
import sys

import machine
from micropython import const

from ivota import line, once

_SHARE = const(8)  # an eighth of the free heap may be allocated between two collections

client = None  # for the application: `from ivota import agent`, then `agent.client`


def run():
    """Run the client, and the application if a bundle contains one; restart when due."""
    global client
    # Objects that stay should be close together, so that a small heap is not fragmented. A
    # collection takes longer in a larger heap, so the free space determines when it is due.
    gc.threshold(gc.mem_free() // _SHARE)
    client, application = once("agent_setup").start(log)
    gc.collect()
    gc.threshold(gc.mem_free() // _SHARE)
    died = None
    try:
        if application is None:
            client.run()
        elif once("thread_runner").run(client, application):
            return
    # Whatever happened: a board that can be updated matters more than the error.
    except Exception as error:
        sys.print_exception(error)
        died = error
    try:
        ended = once("shutdown").ended
    except Exception:  # the heap has no room for the module, or the module is damaged
        machine.reset()
    ended(client, died)


def log(level, event, **fields):
    """Print an event as one line on the console."""
    print("ivota:", line(event, fields))
