"""`gc`: the host's collector; the sizes are made up, as the host has no heap of its own."""

import gc as host

HEAP = 1 << 20


def make(world):
    limit = [-1]

    def threshold(n=None):
        if n is None:
            return limit[0]
        limit[0] = n

    return {
        # The whole of a test process takes the host's collector a tenth of a second.
        "collect": lambda: host.collect(0),
        "disable": host.disable,
        "enable": host.enable,
        "isenabled": host.isenabled,
        "mem_alloc": lambda: HEAP // 4,
        "mem_free": lambda: HEAP - HEAP // 4,
        "threshold": threshold,
    }
