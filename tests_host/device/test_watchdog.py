"""A watchdog of any length, on ports that take it and on ports that take eight seconds at most."""

from ivota import watchdog
from support import Clock, patched


class FakeMachine:
    """`most`: the longest timeout in milliseconds; `timers`: the numbers that a Timer can have."""

    def __init__(self, most=1 << 30, timers=(-1,)):
        self._most = most
        self._timers = timers
        self.timeout = None
        self.feeds = 0
        self.tick = None

    def WDT(self, timeout):
        if timeout > self._most:
            raise ValueError("timeout")
        self.timeout = timeout
        return self

    def feed(self):
        self.feeds += 1

    def Timer(self, number, period, callback):
        if number not in self._timers:
            raise ValueError("timer")
        self.tick = callback
        assert period < 8000
        return self


def feeder(machine, seconds):
    with patched(watchdog, machine=machine):
        return watchdog.feeder(seconds)


def test_the_ports_own():
    machine = FakeMachine()
    feed = feeder(machine, 60)
    assert machine.timeout == 60000 and machine.tick is None
    feed()
    assert machine.feeds == 1


def test_parts_of_a_second():
    machine = FakeMachine()
    feeder(machine, 0.5)
    assert machine.timeout == 500


def test_none():
    assert feeder(object(), 60) is None
    assert feeder(FakeMachine(most=100), 60) is None


def test_a_short_one_is_fed_by_a_timer_for_as_long():
    for timers in ((-1,), (0, 1)):
        machine = FakeMachine(8388, timers)
        with Clock().put_into(watchdog) as clock:
            feed = feeder(machine, 60)
            assert machine.timeout == 8000
            before = machine.feeds
            machine.tick(None)  # before anything else has fed it
            assert machine.feeds == before + 1
            for _ in range(3):
                feed()
                clock.advance_ms(59000)
                before = machine.feeds
                machine.tick(None)
                assert machine.feeds == before + 1
            clock.advance_ms(1000)
            machine.tick(None)
            assert machine.feeds == before + 1, "a hang of a minute, and it is still fed"


def test_a_short_one_without_timers_is_fed_as_it_is():
    machine = FakeMachine(8388, ())
    feeder(machine, 60)()
    assert machine.feeds >= 1


def test_one_that_is_short_enough_needs_no_timer():
    machine = FakeMachine(8388)
    feeder(machine, 8)
    assert machine.timeout == 8000 and machine.tick is None
