"""What this project uses of a board's `machine` module."""

import array

import ffi

# The numbers of the esp32 port.
PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_libc = ffi.open(None)
_cause = PWRON_RESET
_id = b""


def reset_cause():
    return _cause


def unique_id():
    return _id


# Leaves at once, without the finalisers that would still write to the flash.
def reset():
    _libc.func("v", "_exit", "i")(HARD_RESET + 80)


# As on a board, where it ends the running program with SystemExit.
def soft_reset():
    raise SystemExit


# Its bite is SIGALRM's default action. Like a board's, it cannot be stopped.
class WDT:
    def __init__(self, id=0, timeout=5000):
        # struct itimerval: no interval, then seconds and microseconds
        self.time = array.array("l", (0, 0, timeout // 1000, timeout % 1000 * 1000))
        self.set = _libc.func("i", "setitimer", "ipp")
        self.feed()

    def feed(self):
        self.set(0, self.time, None)
