"""time: ticks and their wrap, sleeps, and calendars."""

import sys
import time

from support import WHERE, Clock, raises

SKIP_ON = {
    "test_ticks_wrap_at_30_bits": ("unix64 preview", "their ticks wrap at 2**62 instead"),
}


def test_ticks_wrap_at_30_bits():
    top = (1 << 30) - 1
    assert time.ticks_add(top, 5) == 4
    assert time.ticks_add(0, -1) == top
    assert time.ticks_diff(5, top - 4) == 10
    assert time.ticks_diff(top - 4, 5) == -10
    assert time.ticks_diff(1 << 29, 0) == -(1 << 29)
    for far in (1 << 29, -(1 << 29), (1 << 29) + 5):
        with raises(OverflowError):
            time.ticks_add(5, far)
    assert 0 <= time.ticks_ms() <= top
    assert 0 <= time.ticks_us() <= top


def test_ticks_wrap_somewhere():
    top = (1 << (62 if WHERE == "unix64" else 30)) - 1
    assert time.ticks_add(top, 5) == 4
    assert time.ticks_diff(time.ticks_add(top, 5), top) == 5
    assert time.ticks_diff(top, time.ticks_add(top, 5)) == -5
    assert time.ticks_diff(7, 5) == 2


def test_sleeping():
    start = time.ticks_ms()
    assert time.sleep_ms(12) is None
    assert 10 <= time.ticks_diff(time.ticks_ms(), start) < 5000
    start = time.ticks_us()
    time.sleep_us(1000)
    assert 900 <= time.ticks_diff(time.ticks_us(), start) < 5000000
    start = time.ticks_ms()
    time.sleep_ms(-5000)
    time.sleep_ms(0)
    assert time.ticks_diff(time.ticks_ms(), start) < 2000
    with raises(TypeError):
        time.sleep_ms(1.5)


def test_calendar():
    assert time.gmtime(0)[:8] == (1970, 1, 1, 0, 0, 0, 3, 1)
    assert time.gmtime(10**9)[:8] == (2001, 9, 9, 1, 46, 40, 6, 252)
    assert type(time.gmtime()) is tuple
    assert time.time() > 1.5e9
    assert time.time_ns() > 10**18
    assert time.mktime(time.localtime(10**9)) == 10**9
    for name in "monotonic perf_counter strftime struct_time ctime".split():
        assert not hasattr(time, name), name


def test_the_tests_own_clock_keeps_the_rules():
    clock = Clock(ms=(1 << 30) - 5)
    start = clock.ticks_ms()
    clock.sleep_ms(10)
    assert clock.ticks_ms() == 5
    assert clock.ticks_diff(clock.ticks_ms(), start) == 10
    assert clock.ticks_add(start, 10) == 5
    assert clock.sleeps == [10]
    clock.sleep_ms(-1)
    assert clock.now_ms() == (1 << 30) + 5
    before = clock.time()
    clock.advance_ms(61000)
    assert clock.time() == before + 61


def test_the_tests_own_clock_replaces_a_modules_time():
    module = sys.modules[__name__]
    real = module.time
    with Clock().put_into(module) as clock:
        time.sleep_ms(100000)
        assert time.ticks_ms() == 100000
        assert clock.sleeps == [100000]
    assert module.time is real
