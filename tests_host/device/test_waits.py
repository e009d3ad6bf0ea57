"""What the client's waits leave to an application beside it, with delays as esp32 has them."""

import asyncio
import binascii
import hashlib
import json

from doubles.fakesocket import Network

import ivota

# Those whose `time` is the test's; they stay in `sys.modules`, where `once` finds them.
from ivota import (
    asyncio_runner,
    body_download,
    download_preparation,
    guarded_socket,
    mqtt_session,
    report_queue,
    response_check,
    shutdown,
    update,
    update_client,
)
from support import Clock, data_of, patched, tmp_dir

MODULES = (
    ivota,
    update_client,
    report_queue,
    update,
    shutdown,
    mqtt_session,
    guarded_socket,
    body_download,
    response_check,
    download_preparation,
)
TICK_MS = 10  # of FreeRTOS
BODY = data_of(20000)
PUSH = {
    "type": "update_firmware",
    "version": "0.2",
    "url": "http://files/f",
    "file_size": len(BODY),
    "md5sum": binascii.hexlify(hashlib.md5(BODY).digest()).decode(),
}
CONFIG = {"product_id": "P", "device_name": "d", "mqtt": {"host": "broker", "keepalive_s": 600}}
CONNACK, SUBACK = b"\x20\x02\0\0", b"\x90\x03\0\x01\x01"


class Esp32Clock(Clock):
    """As ports/esp32/mphalport.c delays: whole ticks with the interpreter's lock given away, the
    rest, of up to a tick, spun. A poll gives the lock away for as long as it waits.

    `rounds` are those of an application's loop in another thread, one for each millisecond in
    which it has the lock.
    """

    rounds = 0

    def advance_ms(self, ms):
        self.rounds += ms
        Clock.advance_ms(self, ms)

    def sleep_ms(self, ms):
        ticks_ms = max(ms - 1, 0) // TICK_MS * TICK_MS
        self.advance_ms(ticks_ms)
        Clock.advance_ms(self, ms - ticks_ms)


class World:
    """`with World() as world:` a client on a broker; a push has it download for a second."""

    def __init__(self, push=None):
        self.clock = Esp32Clock(1000)
        broker = [CONNACK, SUBACK, 100, b"\x40\x02\0\x02"]
        if push:
            topic = b"$ota/update/P/d"
            body = len(topic).to_bytes(2, "big") + topic + json.dumps(push).encode()
            broker += [b"\x30" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body]
        head = b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-19999/20000\r\n\r\n"
        files = [head]
        for at in range(0, len(BODY), 100):
            files += [5, BODY[at : at + 100]]
        self.network = Network(broker, files, port="esp32", clock=self.clock)

    def __enter__(self):
        self._tmp = tmp_dir()
        path = self._tmp.__enter__()
        network = self.network
        self._patch = patched(guarded_socket, socket=network, select=network, errno=network.errno)
        self._patch.__enter__()
        self.clock.put_into(*MODULES)
        self.client = update_client.Client(
            CONFIG,
            "0.1",
            print,
            firmware_dir=path + "/fw",
            state=ivota.once("state").load(path + "/state.json"),
        )
        return self

    def __exit__(self, *exc):
        self.clock.__exit__(*exc)
        self._patch.__exit__(*exc)
        self._tmp.__exit__(*exc)

    def until(self, condition):
        """Have `run` end when a condition holds; `took_ms` is how long that took."""
        step = self.client.step
        begun = self.clock.now_ms()

        def stepped():
            more = step()
            took_ms = self.clock.now_ms() - begun
            assert took_ms < 60000, "still not"
            if condition() and not self.client.exiting:
                self.took_ms = took_ms
                self.shared_ms = self.clock.rounds
                self.client.exit()
            return more

        self.client.step = stepped

    def downloaded(self):
        return self.client.job and self.client.job.phase == "verification"


def test_an_applications_thread_has_its_loop_beside_an_idle_client():
    with World() as world:
        world.until(lambda: world.clock.now_ms() > 11000)
        world.client.run()
        assert world.client.version == "0.1" and world.shared_ms == world.took_ms >= 10000


def test_an_applications_thread_has_its_loop_beside_a_download():
    with World(PUSH) as world:
        world.until(world.downloaded)
        world.client.run()
        # The bytes take a second, and each is taken when it arrives.
        assert world.shared_ms == world.took_ms < 1200


def test_an_applications_task_has_its_loop_beside_a_download():
    # asyncio waits in a poll, too: for that stands the test's clock.
    async def sleep_ms(ms):
        world.clock.advance_ms(ms)

    class Asyncio:
        pass

    Asyncio.sleep_ms = sleep_ms
    with World(PUSH) as world, patched(asyncio_runner, asyncio=Asyncio):
        world.until(world.downloaded)
        asyncio.run(world.client.serve())
        assert world.shared_ms == world.took_ms < 1200


def test_the_stand_in_spins_as_esp32_does():
    for ms, rounds in ((1, 0), (2, 0), (10, 0), (11, 10), (20, 10), (25, 20)):
        clock = Esp32Clock()
        clock.sleep_ms(ms)
        assert (clock.now_ms(), clock.rounds) == (ms, rounds)
