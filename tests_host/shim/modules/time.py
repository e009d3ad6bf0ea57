"""`time`: with ticks that wrap at 2**30 milliseconds or microseconds, as on 32-bit ports."""

import time as host

PERIOD = 1 << 30
HALF = PERIOD // 2


def ticks_add(ticks, delta):
    if not -HALF < delta < HALF:
        raise OverflowError("ticks interval overflow")
    return (ticks + delta) % PERIOD


def ticks_diff(later, earlier):
    return (later - earlier + HALF) % PERIOD - HALF


def make(world):
    def sleep_ms(ms):
        if not isinstance(ms, int):
            raise TypeError("can't convert float to int")
        if ms > 0:
            host.sleep(ms / 1000)

    def sleep_us(us):
        if us > 0:
            host.sleep(us / 1000000)

    def calendar_of(parts):
        return tuple(parts)[:9]

    return {
        "gmtime": lambda secs=None: calendar_of(host.gmtime(secs)),
        "localtime": lambda secs=None: calendar_of(host.localtime(secs)),
        "mktime": lambda parts: int(host.mktime(tuple(parts[:8]) + (-1,))),
        "sleep": host.sleep,
        "sleep_ms": sleep_ms,
        "sleep_us": sleep_us,
        "ticks_add": ticks_add,
        "ticks_cpu": lambda: 0,
        "ticks_diff": ticks_diff,
        "ticks_ms": lambda: host.monotonic_ns() // 1000000 % PERIOD,
        "ticks_us": lambda: host.monotonic_ns() // 1000 % PERIOD,
        "time": host.time,
        "time_ns": host.time_ns,
    }
