"""Ways to run the client: a loop, a thread, a task; each ends at `exit()` and leaves in order."""

import asyncio
import sys
import time

from ivota import asyncio_runner, thread_runner
from ivota.update_client import Client
from support import installed, patched, raises, wait_until


class FakeClient:
    """Has work for nine steps of ten, and exits by itself at the step `last`."""

    def __init__(self, last=50):
        self.last = last
        self.steps = 0
        self.exiting = False
        self.closed = 0
        self.log_lines = []

    def log(self, level, event, **fields):
        self.log_lines.append((level, event))

    def step(self):
        self.steps += 1
        if self.steps >= self.last:
            self.exiting = True
        return bool(self.steps % 10)

    def next_step_ms(self):
        return 2

    def close(self):
        self.closed += 1

    def run(self):
        while not self.exiting:
            if not self.step():
                time.sleep_ms(self.next_step_ms())
        self.close()


def test_the_clients_own_names_for_both():
    client = FakeClient()
    asyncio.run(Client.serve(client))
    assert client.closed == 1
    client = FakeClient()
    Client.start(client)
    wait_until(lambda: client.closed)


def test_serve_lets_other_tasks_run():
    client = FakeClient(100)
    between = []

    async def ticker():
        while True:
            between.append(client.steps)
            await asyncio.sleep_ms(0)

    async def main():
        task = asyncio.create_task(ticker())
        await asyncio_runner.serve(client)
        task.cancel()

    asyncio.run(main())
    assert client.steps == 100 and client.closed == 1
    # The ticker ran between every two blocks.
    assert len(set(between)) >= 99


def test_serve_as_a_task():
    async def main():
        client = FakeClient()
        task = asyncio.create_task(asyncio_runner.serve(client))
        await asyncio.sleep_ms(1)
        assert client.steps > 0
        await task
        assert client.closed == 1

    asyncio.run(main())


def test_serve_ends_at_exit():
    async def main():
        client = FakeClient(10**9)
        task = asyncio.create_task(asyncio_runner.serve(client))
        await asyncio.sleep_ms(20)
        client.exiting = True
        await task
        assert client.closed == 1

    asyncio.run(main())


def test_a_thread():
    client = FakeClient()
    done = []
    thread_runner.start(client, done.append)
    wait_until(lambda: done)
    assert client.steps == 50 and client.closed == 1 and done == [None]


def test_exit_from_another_thread():
    client = FakeClient(10**9)
    done = []
    thread_runner.start(client, done.append)
    wait_until(lambda: client.steps > 20)
    client.exiting = True
    wait_until(lambda: done)
    assert client.closed == 1


def test_a_client_that_dies_is_told_of():
    class Dying(FakeClient):
        def run(self):
            raise ValueError("x")

    client = Dying()
    done = []
    thread_runner.start(client, done.append)
    wait_until(lambda: done)
    assert client.log_lines == [("error", "died")] and type(done[0]) is ValueError


def test_the_stack_is_set_for_that_thread_alone():
    import _thread

    sizes = []

    class FakeThread:
        def stack_size(self, size=0):
            sizes.append(size)
            return 4096

        def start_new_thread(self, _body, _args):
            sizes.append("start")

    class FakeSys:
        platform = "esp32"

    # A board has it in one piece of RAM, which TLS needs too; here frames and paths are larger.
    for platform, size in ((sys, 40960), (FakeSys, 16384)):
        sizes.clear()
        with installed("_thread", FakeThread()), patched(thread_runner, sys=platform):
            thread_runner.start(FakeClient())
        assert sizes == [size, "start", 4096]
    assert sys.modules.get("_thread", _thread) is _thread


def test_a_port_without_threads():
    import builtins

    def without(name, *args):
        if name == "_thread":
            raise ImportError("no module named '_thread'")
        return real(name, *args)

    real = builtins.__import__
    builtins.__import__ = without
    try:
        with raises(RuntimeError, "threads") as caught:
            thread_runner.start(FakeClient())
    finally:
        builtins.__import__ = real
    assert "serve()" in str(caught.value)
