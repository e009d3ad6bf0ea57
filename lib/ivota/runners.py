"""Ways to drive `Client.step()` other than a plain loop; no logic of their own."""

import asyncio

from ivota.errors import describe

# Bytes. A TLS handshake does not fit into an ESP32 thread's default; the unix port keeps 8 KiB of
# it back, and examining a bundle does not fit into the 8 KiB that would be left of 16.
_STACK = 24 * 1024


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


async def serve(client):
    """Run the client as a task among others, until `exit()`."""
    while not client.exiting:
        await asyncio.sleep_ms(0 if client.step() else client.idle_ms())
    client.close()
