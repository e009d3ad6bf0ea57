"""Choose what starts: the active bundle, the previous one, or the factory package alone."""

import json
import os
import sys

import machine

_STATE = "/ivota-state.json"


def _load():
    for name in (_STATE, _STATE + "~"):
        try:
            with open(name) as file:
                return dict(json.load(file))
        except (OSError, ValueError, TypeError):
            pass
    return {}


def _save(state):
    with open(_STATE + "~", "w") as file:
        json.dump(state, file)
    os.rename(_STATE + "~", _STATE)


def _give_up(state, why, reject):
    state["ended"] = dict(state["trial"], why=why, reject=reject)
    state["active"], state["previous"], state["trial"] = state.get("previous"), None, None


def _count(state):
    """Count this start of a trial, and give up the version that has had its chances."""
    crashed = machine.reset_cause() not in (machine.PWRON_RESET, machine.DEEPSLEEP_RESET)
    key = "starts" if crashed else "power_boots"
    state[key] = state.get(key, 0) + 1
    if state[key] > state["trial"]["limits"][0 if crashed else 1]:
        _give_up(state, "crashed in its trial" if crashed else "lost power in its trial", crashed)
    _save(state)


def _start(state):
    if state.get("trial"):
        _count(state)
    for path in (state.get("active"), state.get("previous")):
        if not path:
            return
        try:
            import bundlefs

            bundlefs.start(path)
            return
        except Exception as error:  # whatever a damaged bundle fails with, the next one starts
            sys.print_exception(error)
            if state.get("trial"):
                _give_up(state, "damaged: %s" % error, True)
                _save(state)


try:
    _start(_load())
except Exception as error:
    sys.print_exception(error)
# main.py runs in the same namespace: what stays here stays in its heap.
for name in ("_load", "_save", "_give_up", "_count", "_start"):
    del globals()[name]
