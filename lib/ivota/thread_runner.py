"""Run the client in a thread of its own, beside an application.

This module stays in the heap while both run.
"""

import sys

from micropython import const

from ivota import describe, once

# Bytes, on esp32 in one piece of the RAM that TLS also needs. An update's modules are imported in
# this thread: at most 6.3 KiB of stack without TLS.
_STACK = const(16384)
# On the unix port, each level of imports takes 4.9 KiB, since a path can have 4 KiB, and 8 KiB are
# reserved. With 24 KiB, a thread overflowed silently into neighbouring memory.
_STACK_ELSEWHERE = const(40960)


def start(client, then=None):
    """Run the client in a thread; at its end, call `then` with the error that ended it, or None.

    Raises RuntimeError on a port without threads.
    """
    try:
        import _thread
    except ImportError:
        raise RuntimeError("this port has no threads: use run(), step() or serve()")

    def body():
        died = None
        try:
            client.run()
        # Nothing above would notice, and the board could never be updated again.
        except Exception as error:
            client.log("error", "died", why=describe(error))
            died = error
        if then:
            then(died)

    before = _thread.stack_size(_STACK if sys.platform == "esp32" else _STACK_ELSEWHERE)
    _thread.start_new_thread(body, ())
    _thread.stack_size(before or 0)


def run(client, application):
    """Run the client and the application; return True if the client continues in its thread."""
    # In MicroPython, an `async def` is a generator function.
    if isinstance(application, type(_async)):
        import asyncio

        asyncio.run(once("asyncio_runner").beside(client, application))
        return False
    dead = []

    def then(died):
        try:
            ended = once("shutdown").thread_ended
        except Exception:  # the heap has no room for the module, or the module is damaged
            import machine

            machine.reset()
        ended(client, dead, died)

    start(client, then)
    try:
        application()
    except Exception as error:
        if not client.state.trial:
            once("app_crash").died(client, error)
        else:  # the thread that owns the state must write it
            dead.append(error)
            client.exit()
    return True


def _async():
    yield
