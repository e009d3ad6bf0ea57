"""End the client: send reports, keep the download, disconnect; then restart."""

import time

from micropython import const

from ivota import guarded_socket, once

_REST_S = const(10)  # before a client that died is started again
_ACK_MS = const(5000)  # maximum wait for the last report's acknowledgement


def leave(client):
    """Disconnect after the last report, and stop a download so that it can be resumed."""
    link = client.link
    start = time.ticks_ms()
    while client.queue and link.up and time.ticks_diff(time.ticks_ms(), start) < _ACK_MS:
        guarded_socket.hooks.feed()
        if not link.step():
            if not link.waiting:
                client.send()
            link.wait(20)
    if client.job:
        client.job.stop()
        client.job = None
    link.close(True)


def ended(client, error=None):
    """Reset the board for a new version, or because the client ended unexpectedly.

    In a trial, the reason is saved: without one, boot.py would not count the reset as a crash.
    """
    if error and client.state.trial:
        try:
            once("app_crash").keep(client.state, error)
        except Exception:  # the board has to start again in any case
            pass
    if client.restart or not client.exiting:
        import machine

        client.log("info", "restart")
        if not client.restart and not client.state.trial:
            # The same error may happen again: the board should do more than restart.
            for _ in range(2 * _REST_S):
                guarded_socket.hooks.feed()
                time.sleep_ms(500)
        machine.reset()


def thread_ended(client, dead, error=None):
    """End the client's thread; `dead` has the error that ended the application in its trial."""
    if dead:
        # Even if the trial was confirmed meanwhile, or the error does not fit in the heap.
        client.restart = True
        try:
            once("app_crash").died(client, dead[0])
        except (MemoryError, ImportError):
            pass
    ended(client, error)
