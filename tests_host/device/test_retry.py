"""Back-off: waits that double, are spread, are capped, and pass."""

import ivota
from support import Clock, patched


class Dice:
    """`random` that always shows the same bits, all zero or all one."""

    def __init__(self, high):
        self.high = high

    def getrandbits(self, n):
        return (1 << n) - 1 if self.high else 0


def waits(first_s, most_s, count, high, least_s=0):
    with Clock().put_into(ivota), patched(ivota, random=Dice(high)):
        backoff = ivota.Backoff(first_s, most_s)
        found = []
        for _ in range(count):
            backoff.failed(least_s)
            found.append(backoff.left_ms())
        return found


def test_due_at_first():
    assert ivota.Backoff(1, 300).left_ms() == 0


def test_waits_double_up_to_the_most():
    assert waits(1, 10, 6, False) == [500, 1000, 2000, 4000, 5000, 5000]
    high = waits(1, 10, 6, True)
    assert [round(wait, -2) for wait in high] == [1000, 2000, 4000, 8000, 10000, 10000]
    assert max(high) <= 10000


def test_each_is_drawn_from_its_upper_half():
    seen = set()
    for _ in range(60):
        backoff = ivota.Backoff(10, 300)
        backoff.failed()
        left = backoff.left_ms()
        assert 4900 <= left <= 10000, left
        seen.add(left // 100)
    assert len(seen) > 10


def test_fractions_of_a_second():
    assert waits(0.1, 0.3, 4, False) == [50, 100, 150, 150]


def test_a_first_of_nothing_never_waits():
    assert waits(0, 300, 50, True)[-1] == 0


def test_hundreds_of_failures():
    assert waits(1, 300, 500, False)[-1] == 150000
    assert waits(1, 86400, 40, True)[-1] <= 86400000


def test_the_server_may_ask_for_more_up_to_the_most():
    assert waits(1, 300, 1, False, 7) == [7000]
    assert waits(1, 300, 1, False, 10**30) == [300000]
    assert waits(8, 300, 1, False, 2) == [4000]


def test_time_passes():
    with Clock().put_into(ivota) as clock:
        backoff = ivota.Backoff(1, 300)
        backoff.rest(5000)
        clock.advance_ms(4999)
        assert backoff.left_ms() == 1
        clock.advance_ms(1)
        assert backoff.left_ms() == 0


def test_once_due_it_stays_due():
    # Ticks come round again: a wait that is over must not begin anew after 2**29 ms.
    with Clock().put_into(ivota) as clock:
        backoff = ivota.Backoff(1, 300)
        backoff.rest(5000)
        clock.advance_ms(5000)
        assert backoff.left_ms() == 0
        clock.advance_ms((1 << 29) + 100)
        assert backoff.left_ms() == 0


def test_ticks_that_wrap_in_a_wait():
    with Clock(ms=(1 << 30) - 1000).put_into(ivota) as clock:
        backoff = ivota.Backoff(1, 300)
        backoff.rest(5000)
        clock.advance_ms(2000)
        assert backoff.left_ms() == 3000
        clock.advance_ms(3000)
        assert backoff.left_ms() == 0


def test_a_wait_longer_than_ticks_can_tell_still_ends():
    with Clock().put_into(ivota) as clock:
        backoff = ivota.Backoff(1, 300)
        backoff.rest(30 * 86400 * 1000)
        for _ in range(31 * 24):
            clock.advance_ms(3600 * 1000)
            if not backoff.left_ms():
                return
        raise AssertionError("it never ended")


def test_reset():
    with Clock().put_into(ivota), patched(ivota, random=Dice(False)):
        backoff = ivota.Backoff(1, 300)
        for _ in range(5):
            backoff.failed()
        backoff.reset()
        assert backoff.left_ms() == 0
        assert backoff.tries == 0
        backoff.failed()
        assert backoff.left_ms() == 500
        assert backoff.tries == 1
