"""The turnkey agent: update client and application, until the board is to be restarted."""

import gc
import sys

import machine
from micropython import const

from ivota import line, once

_SHARE = const(8)  # of the free heap is allocated between two collections

client = None  # the application's way to it: `from ivota import agent`, then `agent.client`


def run():
    """Run the client, and the application where a bundle brings one; restart when due."""
    global client
    # What comes to stay should lie close together: a small heap must not be cut into pieces. A
    # collection takes as long as the heap is large, so it is due by the room there is.
    gc.threshold(gc.mem_free() // _SHARE)
    client, application = once("startup").start(log)
    gc.collect()
    gc.threshold(gc.mem_free() // _SHARE)
    died = None
    try:
        if application is None:
            client.run()
        elif once("thread_runner").run(client, application):
            return
    # Whatever it is, a board that can be updated is better than one that shows it.
    except Exception as error:
        sys.print_exception(error)
        died = error
    try:
        ended = once("shutdown").ended
    except Exception:  # not even that fits the heap, or can be read
        machine.reset()
    ended(client, died)


def log(level, event, **fields):
    """One line on the console."""
    print("ivota:", line(event, fields))
