"""`micropython`: the heap lock is a counter here; what allocates is measured on the real one."""

import collections


def make(world):
    locks = [0]
    level = [0]

    def heap_lock():
        locks[0] += 1

    def heap_unlock():
        locks[0] -= 1
        return locks[0]

    def opt_level(n=None):
        if n is None:
            return level[0]
        level[0] = n

    def schedule(function, arg):
        function(arg)

    class RingIO:
        def __init__(self, size):
            self._bytes = collections.deque()
            self._size = size - 1 if isinstance(size, int) else len(size) - 1

        def any(self):
            return len(self._bytes)

        def write(self, data):
            data = bytes(data)[: self._size - len(self._bytes)]
            self._bytes.extend(data)
            return len(data)

        def read(self, n=-1):
            n = len(self._bytes) if n < 0 else min(n, len(self._bytes))
            return bytes(self._bytes.popleft() for _ in range(n))

    return {
        "RingIO": RingIO,
        "const": lambda value: value,
        "heap_lock": heap_lock,
        "heap_unlock": heap_unlock,
        "kbd_intr": lambda char: None,
        "mem_current": lambda: 0,
        "mem_info": lambda verbose=None: None,
        "mem_peak": lambda: 0,
        "mem_total": lambda: 0,
        "opt_level": opt_level,
        "qstr_info": lambda verbose=None: None,
        "schedule": schedule,
        "stack_use": lambda: 0,
    }
