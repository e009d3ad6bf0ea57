"""Choose what starts: the active bundle, the previous one, or the factory package alone."""

import os
import sys


def places():
    """The copies of bundlefs: one in the firmware, which nothing can damage, or two on flash."""
    yield ".frozen"
    # The import of a damaged source fails; that of a .mpy may hang.
    yield from ("/", "/lib") if "bundlefs.py" in os.listdir("/") else ("/lib", "/")


path = sys.path[:]
for folder in places():
    sys.path[:] = [folder]
    try:
        from bundlefs import crashed, free, load, save, slot, start, watch

        break
    except Exception as error:
        if folder[0] == "/":
            sys.print_exception(error)
        sys.modules.pop("bundlefs", None)
    finally:
        sys.path[:] = path


def leave(state, why, reject):
    """Return to the previous version; a trial ends with that, and the cloud learns why."""
    if state.get("trial") and why:
        state["ended"] = dict(state["trial"], why=why, reject=reject)
    state["outbox"] = state.get("trial") and state.get("outbox")  # a `done` is no longer true
    state["active"], state["previous"], state["trial"] = state.get("previous"), None, None
    save(state)


def count(state, trial):
    """Count a start of the trial, and end the trial if it was the last one."""
    started = state.get("starts") or state.get("power_boots")
    if trial.get("slot") and trial["slot"] != slot():
        return leave(state, started and "the boot loader rolled back to the previous image", False)
    crash = crashed(trial) and started
    key = "starts" if crash else "power_boots"
    state[key] = state.get(key, 0) + 1
    if crash and state[key] >= trial["limits"][0]:
        return leave(state, "crashed in its trial", "died" in trial)
    if not crash and state[key] > trial["limits"][1]:
        return leave(state, "restarted too often in its trial", False)
    save(state)
    watch()


try:
    state = load()
    if state.get("trial"):
        count(state, state["trial"])
    while state.get("active"):
        try:
            start(state["active"], state.get("sums"))
            break
        except Exception as error:  # whatever error a damaged bundle causes, the next one starts
            sys.print_exception(error)
            leave(state, "damaged: %s" % error, not isinstance(error, OSError))
except Exception as error:
    sys.print_exception(error)
if "/app" not in sys.path and "bundlefs" in sys.modules:
    free()
# main.py shares this namespace: what stays here stays in its heap.
for name in ("crashed", "free", "load", "save", "slot", "start", "watch"):
    globals().pop(name, None)
for name in ("leave", "count", "state", "places", "path"):
    globals().pop(name, None)
