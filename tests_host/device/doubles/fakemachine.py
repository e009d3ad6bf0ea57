"""A `machine` module for tests, as boards have it; the unix port's lacks all of this.

with installed("machine", FakeMachine()) as machine:
    ...
assert machine.resets == 1
"""


class Reset(BaseException):
    """`machine.reset()` does not return; no handler of the code under test may catch this.

    ports/esp32/modmachine.c, mp_machine_reset: esp_restart.
    """


# ports/esp32/modmachine.c: mp_machine_reset, mp_machine_reset_cause, mp_machine_unique_id (the MAC
# address), mp_machine_idle. soft_reset is sys.exit there, by extmod/modmachine.c.
class FakeMachine:
    # The numbers of esp32: reset_reason_t.
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self, cause=1):
        self.cause = cause
        self.resets = 0
        self.watchdogs = []

    def reset(self):
        self.resets += 1
        raise Reset

    soft_reset = reset

    def reset_cause(self):
        return self.cause

    def unique_id(self):
        return b"\x24\x6f\x28\0\0\1"

    def idle(self):
        pass

    # ports/esp32/machine_wdt.c, mp_machine_wdt_make_new_instance: one, which each call sets anew.
    def WDT(self, id=0, timeout=5000):
        if id or timeout <= 0:
            raise ValueError
        self.watchdogs.append(Watchdog(timeout))
        return self.watchdogs[-1]


class Watchdog:
    """Counts how often it is fed; it cannot be stopped, and here it never bites.

    ports/esp32/machine_wdt.c, mp_machine_wdt_feed.
    """

    def __init__(self, timeout):
        self.timeout = timeout
        self.fed = 0

    def feed(self):
        self.fed += 1
