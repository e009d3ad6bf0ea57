"""`asyncio`: the host's, with the names that MicroPython's has and the waits in milliseconds."""

import asyncio as host

from . import time as device_time


def make(world):
    clock = device_time.make(world)

    class Sleep:
        """To be awaited at once: it is no coroutine, and no task can be made of it."""

        def __init__(self, seconds):
            self._seconds = max(seconds, 0)

        def __await__(self):
            return host.sleep(self._seconds).__await__()

    def sleep_ms(ms):
        return Sleep(ms / 1000)

    def coroutine(awaitable):
        if isinstance(awaitable, Sleep) or not hasattr(awaitable, "__await__"):
            raise TypeError("coroutine expected")
        return awaitable

    def create_task(awaitable):
        return host.create_task(coroutine(awaitable))

    async def wait_for(awaitable, seconds):
        return await host.wait_for(coroutine(awaitable), seconds)

    async def wait_for_ms(awaitable, ms):
        return await wait_for(awaitable, ms / 1000)

    class ThreadSafeFlag:
        """Set from anywhere, waited for by one task; waiting clears it."""

        def __init__(self):
            self._set = False

        def set(self):
            self._set = True

        def clear(self):
            self._set = False

        async def wait(self):
            while not self._set:
                await host.sleep(0.001)
            self._set = False

    def ticks():
        return clock["ticks_ms"]()

    return {
        "CancelledError": host.CancelledError,
        "Event": host.Event,
        "Lock": host.Lock,
        "Task": host.Task,
        "ThreadSafeFlag": ThreadSafeFlag,
        "TimeoutError": host.TimeoutError,
        "create_task": create_task,
        "current_task": host.current_task,
        "gather": host.gather,
        "get_event_loop": host.get_event_loop,
        "new_event_loop": host.new_event_loop,
        "open_connection": host.open_connection,
        "run": host.run,
        "sleep": Sleep,
        "sleep_ms": sleep_ms,
        "start_server": host.start_server,
        "ticks": ticks,
        "ticks_add": clock["ticks_add"],
        "ticks_diff": clock["ticks_diff"],
        "wait_for": wait_for,
        "wait_for_ms": wait_for_ms,
    }
