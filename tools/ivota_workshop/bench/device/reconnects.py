"""Connect, report and lose the link: `reconnects.py CONFIG FOLDER ROUNDS`; print what grew."""

import gc
import json
import os
import sys
import time

from ivota.state import load
from ivota.update_client import Client

CONFIG = json.loads(sys.argv[1])
FOLDER = sys.argv[2]
ROUNDS = int(sys.argv[3])

client = Client(CONFIG, "0.1", print, firmware_dir=FOLDER, state=load(FOLDER + "/state.json"))


def sockets():
    return len(list(os.ilistdir("/proc/self/fd")))


def round():
    until = time.ticks_add(time.ticks_ms(), 20000)
    while not client.link.up or client.queue:
        client.step()
        assert time.ticks_diff(until, time.ticks_ms()) > 0, "no connection"
    client.link._lost(OSError("on purpose"))
    client.link.retry.reset()


def used():
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


def held():
    """Return the bytes of heap in use: the minimum of ten rounds.

    The collector takes every word on the stack for an address, so a single measurement may count
    objects that are no longer in use.
    """
    least = None
    for _ in range(10):
        round()
        heap = used()
        if least is None or heap < least:
            least = heap
    return least


def main():
    # The first ten rounds may include one-time allocations, also by the measurement itself.
    held()
    heap, fds = held(), sockets()
    for _ in range(ROUNDS - 10):
        round()
    heap = held() - heap
    fds = sockets() - fds
    print(
        json.dumps({"reconnects": ROUNDS, "heap_growth_bytes": heap, "open_sockets_growth": fds})
    )


main()
