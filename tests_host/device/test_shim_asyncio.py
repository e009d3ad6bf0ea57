"""asyncio: tasks, waits in milliseconds, cancellation, events."""

import asyncio

from support import raises


def test_tasks_take_turns():
    order = []

    async def worker(name):
        for _ in range(3):
            order.append(name)
            await asyncio.sleep_ms(0)
        return name

    async def main():
        return await asyncio.gather(worker("a"), worker("b"))

    assert asyncio.run(main()) == ["a", "b"]
    assert order == ["a", "b"] * 3


def test_sleeping():
    async def main():
        start = asyncio.ticks()
        await asyncio.sleep_ms(15)
        await asyncio.sleep(0.005)
        return asyncio.ticks_diff(asyncio.ticks(), start)

    assert 18 <= asyncio.run(main()) < 5000


def test_a_wait_that_is_too_long():
    async def long():
        await asyncio.sleep(60)

    async def main():
        with raises(asyncio.TimeoutError):
            await asyncio.wait_for_ms(long(), 5)
        with raises(asyncio.TimeoutError):
            await asyncio.wait_for(long(), 0.005)
        return await asyncio.wait_for_ms(quick(), 5000)

    async def quick():
        return 7

    assert asyncio.run(main()) == 7
    assert not issubclass(asyncio.TimeoutError, OSError)


def test_a_sleep_is_no_coroutine():
    async def main():
        for made in (asyncio.sleep(1), asyncio.sleep_ms(1000)):
            with raises(TypeError, "coroutine expected"):
                asyncio.create_task(made)
            with raises(TypeError, "coroutine expected"):
                await asyncio.wait_for_ms(made, 5)

    asyncio.run(main())


def test_cancelling():
    seen = []

    async def worker():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append("finally")

    async def main():
        task = asyncio.create_task(worker())
        await asyncio.sleep_ms(1)
        assert not task.done()
        task.cancel()
        with raises(asyncio.CancelledError):
            await task
        assert task.done()

    asyncio.run(main())
    assert seen == ["cancelled", "finally"]
    assert not issubclass(asyncio.CancelledError, Exception)


def test_events_and_flags():
    async def main():
        event = asyncio.Event()
        flag = asyncio.ThreadSafeFlag()

        async def waiter():
            await event.wait()
            await flag.wait()
            return "both"

        task = asyncio.create_task(waiter())
        await asyncio.sleep_ms(1)
        event.set()
        flag.set()
        assert event.is_set()
        assert await task == "both"

    asyncio.run(main())


def test_locks():
    held = []

    async def worker(lock):
        async with lock:
            held.append(1)
            assert len(held) == 1
            await asyncio.sleep_ms(1)
            held.pop()

    async def main():
        lock = asyncio.Lock()
        await asyncio.gather(worker(lock), worker(lock), worker(lock))

    asyncio.run(main())
    assert held == []
