"""Provide the parts of a board's `machine` module that this project uses."""

import array

import ffi

# Imitates ports/esp32/modmachine.c: mp_machine_reset, mp_machine_reset_cause, and
# mp_machine_unique_id. The numbers are its reset_reason_t.
PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

# C functions are looked up with bytes: a short str would stay in the heap as a name, as none does
# on a board, where this module is in C.
_libc = ffi.open(None)
_cause = PWRON_RESET
_id = b""


def reset_cause():
    return _cause


def unique_id():
    return _id


# Exits at once, without the finalisers that would still write to the flash.
def reset():
    _libc.func("v", b"_exit", "i")(HARD_RESET + 80)


# As on a board, where it ends the running program with SystemExit: extmod/modmachine.c has
# sys.exit for it.
def soft_reset():
    raise SystemExit


# Imitates ports/esp32/machine_wdt.c: mp_machine_wdt_make_new_instance, where a second one sets the
# first again, and mp_machine_wdt_feed. Its bite is SIGALRM's default action. Like a board's, it
# cannot be stopped.
class WDT:
    def __init__(self, id=0, timeout=5000):
        if id or timeout <= 0:
            raise ValueError
        # struct itimerval: no interval, then seconds and microseconds
        self.time = array.array("l", (0, 0, timeout // 1000, timeout % 1000 * 1000))
        self.set = _libc.func("i", b"setitimer", "ipp")
        self.feed()

    def feed(self):
        self.set(0, self.time, None)
