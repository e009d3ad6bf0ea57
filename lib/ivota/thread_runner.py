"""The client in a thread of its own, beside an application.

Its code stays in the heap for as long as they run.
"""

import sys

from micropython import const

from ivota import describe, once

# Bytes, on esp32 in one piece of the RAM that TLS needs too. An update's modules are imported in
# this thread: at most 6.3 KiB of stack without TLS.
_STACK = const(16384)
# On the unix port an import takes 4.9 KiB for each level, since a path may have 4 KiB there, and
# 8 KiB are kept back: with 24 KiB a thread overflowed, unseen, into what lay beside it.
_STACK_ELSEWHERE = const(40960)


def start(client, then=None):
    """Run the client in a thread, and call `then` with what it died of, or None, at its end.

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
        # Nobody above this would hear of it, and the board could never be updated again.
        except Exception as error:
            client.log("error", "died", why=describe(error))
            died = error
        if then:
            then(died)

    before = _thread.stack_size(_STACK if sys.platform == "esp32" else _STACK_ELSEWHERE)
    _thread.start_new_thread(body, ())
    _thread.stack_size(before or 0)


def run(client, application):
    """Run both; True where the client goes on in its thread, which sees to the end itself."""
    # In MicroPython an `async def` is a generator function.
    if isinstance(application, type(_async)):
        import asyncio

        asyncio.run(once("asyncio_runner").beside(client, application))
        return False
    dead = []

    def then(died):
        try:
            ended = once("shutdown").thread_ended
        except Exception:  # not even that fits the heap, or can be read
            import machine

            machine.reset()
        ended(client, dead, died)

    start(client, then)
    try:
        application()
    except Exception as error:
        if not client.state.trial:
            once("app_crash").died(client, error)
        else:  # the thread that has the state is to write it
            dead.append(error)
            client.exit()
    return True


def _async():
    yield
