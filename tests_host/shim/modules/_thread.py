"""`_thread`: threads of the host; the stack size is kept, and no less than the host allows."""

import _thread as host
import threading

LEAST = 32768  # of the host


def make(world):
    size = [0]

    def stack_size(n=0):
        old, size[0] = size[0], n
        threading.stack_size(max(n, LEAST) if n else 0)
        return old

    return {
        "LockType": host.LockType,
        "allocate_lock": host.allocate_lock,
        "exit": host.exit,
        "get_ident": host.get_ident,
        "stack_size": stack_size,
        "start_new_thread": host.start_new_thread,
    }
