"""Firmware updates that finish on bad networks and survive power cuts."""

import gc
import sys

__version__ = "0.1.0"


def once(name):
    """Import `ivota.<name>` for one use: it leaves the heap when nothing of it is in use.

    One that was imported before stays.
    """
    gc.collect()  # what comes to stay should lie close together
    path = "ivota." + name
    known = path in sys.modules
    module = __import__(path, None, None, ("*",))
    if not known:
        del sys.modules[path]
        globals().pop(name, None)
    return module
