"""`array`."""

import array as host


def make(world):
    return {"array": host.array}
