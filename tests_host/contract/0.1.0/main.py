"""Start the agent: of the bundle that boot.py mounted, of the one before, or of the factory."""

import sys

import machine


def _run():
    from ivota import agent

    agent.run()


def _state():
    """What boot.py read; by itself, for whatever a bundle brings may be what is broken."""
    try:
        import json

        with open("/ivota-state.json") as file:
            return dict(json.load(file))
    except Exception:
        return {}


def _leave():
    """Forget the bundle that is mounted."""
    import vfs

    for name, module in list(sys.modules.items()):
        if name == "bundlefs" or getattr(module, "__file__", "")[:5] == "/app/":
            del sys.modules[name]
    # bundlefs is looked for as in boot.py: in the firmware first, and on flash by its whole path.
    sys.path[:] = [".frozen"] + [path or "/" for path in sys.path if path[:4] != "/app"]
    vfs.umount("/app")


try:
    _run()
# Whatever a new version dies of, the old one must come back: boot.py counts the starts of a
# trial, and a confirmed version whose agent can't start leaves its place until the next start.
except Exception as error:
    sys.print_exception(error)
    if "/app" not in sys.path:
        raise
    try:
        _leave()  # before json is needed: a bundle may bring one of its own
    except Exception as left:
        sys.print_exception(left)
    state = _state()
    trial = state.get("trial")
    if trial:
        try:
            if not isinstance(trial.get("died"), str):  # it has not recorded its death itself
                from bundlefs import save

                trial["died"] = (type(error).__name__ + " " + str(error))[:100]
                save(state)
        except Exception as error:  # boot.py ends the trial in any case, only later
            sys.print_exception(error)
        machine.reset()
    for path in (state.get("previous"), None):
        try:
            if "/app" in sys.path:  # the one before has died as well
                _leave()
            if path:
                from bundlefs import start

                start(path, state.get("sums"))
            _run()
            break
        except Exception as error:
            if not path:
                raise
            sys.print_exception(error)
