"""The client in a thread of its own, beside an application.

Its code stays in the heap for as long as they run.
"""

from ivota import describe, once

# Bytes. An update's modules are imported in this thread: with 24 KiB that overflowed, unseen, into
# what lay beside it. The unix port keeps 8 KiB of it back; its frames are larger than a board's.
_STACK = 40 * 1024


def start(client, then=None):
    """Run the client in a thread, and call `then` when it has ended, in whatever way.

    Raises RuntimeError on a port without threads.
    """
    try:
        import _thread
    except ImportError:
        raise RuntimeError("this port has no threads: use run(), step() or serve()")

    def body():
        try:
            client.run()
        # Nobody above this would hear of it, and the board could never be updated again.
        except Exception as error:
            client.log("error", "died", why=describe(error))
        if then:
            then()

    before = _thread.stack_size(_STACK)
    _thread.start_new_thread(body, ())
    _thread.stack_size(before or 0)


def run(client, application):
    """Run both; True where the client goes on in its thread, which sees to the end itself."""
    # In MicroPython an `async def` is a generator function.
    if isinstance(application, type(_async)):
        import asyncio

        asyncio.run(once("tasks").beside(client, application))
        return False
    dead = []

    def then():
        try:
            ended = once("leave").thread_ended
        except Exception:  # not even that fits the heap, or can be read
            import machine

            machine.reset()
        ended(client, dead)

    start(client, then)
    try:
        application()
    except Exception as error:
        if not client.state.trial:
            once("died").died(client, error)
        else:  # the thread that has the state is to write it
            dead.append(error)
            client.exit()
    return True


def _async():
    yield
