"""The client in a thread of its own."""

from ivota.errors import describe

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
