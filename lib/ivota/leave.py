"""An orderly end: reports sent, the download kept, the broker told."""

import time

from micropython import const

_ACK_MS = const(5000)  # how long the last report's acknowledgement may take


def leave(client):
    """Leave the cloud, in a state that can be resumed."""
    link = client.link
    start = time.ticks_ms()
    while client.unsent() and link.up and time.ticks_diff(time.ticks_ms(), start) < _ACK_MS:
        if not link.step():
            if not link.waiting:
                client.send()
            time.sleep_ms(5)
    if client.job:
        client.job.drop()
        client.job = None
    link.close(True)
