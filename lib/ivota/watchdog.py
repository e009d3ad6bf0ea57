"""Start a watchdog of any length, if the port has one."""

import machine
from micropython import const

from ivota import once

_SHORT = const(8000)  # milliseconds: accepted by every port, the maximum of some


def feeder(seconds):
    """Return the function to call at least every `seconds`, or None without a watchdog."""
    limit_ms = int(seconds * 1000)
    for timeout in (limit_ms, _SHORT):
        try:
            feed = machine.WDT(timeout=timeout).feed
        except Exception:  # each port refuses in its own way, and some lack it
            continue
        return (
            feed if timeout >= limit_ms else once("long_watchdog").Stretched(feed, limit_ms).feed
        )
    return None
