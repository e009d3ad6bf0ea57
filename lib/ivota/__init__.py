"""Update firmware over bad networks, and survive power cuts.

Applications use `Client`, `OtaError` and `describe`. The rest is what every part of the package
uses: loading on demand, error texts, and back-off. It shares one module because each module costs
heap.
"""

import gc
import random
import sys
import time

from micropython import const

__version__ = "0.1.0"

_TIMED_OUT = const(-1)
_LINT = const(0)  # 1 for mypy, which would accept any name of a module with `__getattr__`
_ROOM = const(49152)  # bytes of free heap with room for all modules of any update

frozen = __path__[:7] == ".frozen"  # a part of the firmware, whose code is not in the heap
roomy = False  # whether the free heap had `_ROOM` when it was last measured
_kept = []  # names of the modules that `let_go` removes


def once(name):
    """Import `ivota.<name>` when it is needed, and return the module.

    It stays loaded, as after any import, if the package is frozen, or if it was imported before.
    Otherwise it stays until `let_go` in a roomy heap, and leaves a smaller heap with the last
    reference to it.
    """
    small = not (frozen or roomy)
    if small:
        gc.collect()  # objects that stay should be close together
    path = __name__ + "." + name
    known = path in sys.modules
    module = __import__(path, None, None, ("*",))
    if not (known or frozen):
        _kept.append(name)
        if small:
            let_go()
    return module


def let_go():
    """Forget the modules that `once` has imported, so that they can leave the heap."""
    while _kept:
        name = _kept.pop()
        sys.modules.pop(__name__ + "." + name, None)
        globals().pop(name, None)


def own_copy(library):
    """Import a library for the calling module alone, with which it leaves the heap.

    If the application has imported the library before, return the application's copy instead.
    """
    shared = library in sys.modules
    module = __import__(library, None, None, ("*",))
    if not shared:
        del sys.modules[library]
        sys.modules.pop(library.split(".")[0], None)  # the package of a submodule
    return module


def measure_heap():
    """Set `roomy`, which decides what stays in the heap until it is measured again."""
    global roomy
    let_go()
    roomy = gc.mem_free() >= _ROOM


if not _LINT:

    def __getattr__(name):
        """Import `Client` when it is used, because most boards only run the agent.

        `from ivota import NAME` also looks here for a module that is not imported yet.
        """
        if name == "Client":
            from ivota.update_client import Client

            return Client
        return __import__(__name__ + "." + name, None, None, ("*",))


class OtaError(Exception):
    """Why an update fails: `code` for the cloud (`result_codes`), `message` for people.

    `again`: the same request may succeed later. `after_s`: the seconds to wait first, if the
    server asks for a wait, otherwise 0. `reject`: the same firmware must not be downloaded again.
    """

    version = None  # of an invalid push, if the version is readable

    def __init__(self, code, message, again=False, after_s=0, reject=False):
        super().__init__(message)
        self.code = code
        self.message = message
        self.again = again
        self.after_s = after_s
        self.reject = reject


def again(text, after_s=0):
    """Create the `OtaError` for a failure that a retry may overcome."""
    return OtaError(_TIMED_OUT, text, True, after_s)


def describe(error):
    """Describe an error for a log or a report, in one line of at most 120 characters."""
    if isinstance(error, OtaError):
        text = error.message
    else:
        text = type(error).__name__ + " " + str(error)
        if isinstance(error, OSError):
            try:
                text = once("errno_texts").words(error) or text
            except (MemoryError, ImportError):  # the result code must be enough
                pass
    return " ".join(text.split())[:120]


def line(event, fields):
    """Format an event of the log as one line."""
    return event + "".join(" %s=%s" % pair for pair in sorted(fields.items()))


class Backoff:
    """Wait times before retries, which double from `first_s` up to `most_s`, in seconds.

    Each wait is drawn at random from its upper half, so that ten thousand boards that lost the
    same broker do not return in the same second.
    """

    def __init__(self, first_s, most_s):
        self.first_s = first_s
        self.most_s = most_s
        self.tries = 0
        self._start = time.ticks_ms()
        self._wait_ms = 0

    def reset(self):
        """Forget the failures after a success."""
        self.tries = 0
        self._wait_ms = 0

    def failed(self, after_s=0):
        """Count a failure and start the next wait, of at least `after_s` (itself capped)."""
        wait_ms = int(min(self.first_s * (1 << min(self.tries, 20)), self.most_s) * 500)
        self.tries += 1
        wait_ms += wait_ms * random.getrandbits(8) >> 8
        self.rest(max(wait_ms, int(min(after_s, self.most_s) * 1000)))

    def rest(self, wait_ms):
        """Wait for `wait_ms` milliseconds, at most three days: ticks can't measure much more."""
        self._start = time.ticks_ms()
        self._wait_ms = min(wait_ms, 1 << 28)

    def left_ms(self):
        """Return the milliseconds until the next try, 0 if it is due."""
        # Don't compare with a start days ago: ticks wrap around.
        if self._wait_ms:
            left = self._wait_ms - time.ticks_diff(time.ticks_ms(), self._start)
            if left > 0:
                return left
            self._wait_ms = 0
        return 0
