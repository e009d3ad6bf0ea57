"""A watchdog of any length, where the port has one."""

import machine
from micropython import const

from ivota import once

_SHORT = const(8000)  # milliseconds: what every port takes, of which some take no more


def feeder(seconds):
    """What is to be called at least every `seconds`, or the board resets; None without one."""
    limit_ms = int(seconds * 1000)
    for timeout in (limit_ms, _SHORT):
        try:
            feed = machine.WDT(timeout=timeout).feed
        except Exception:  # each port refuses in its own way, and some have none
            continue
        return (
            feed if timeout >= limit_ms else once("long_watchdog").Stretched(feed, limit_ms).feed
        )
    return None
