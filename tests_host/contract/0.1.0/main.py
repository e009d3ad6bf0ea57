"""Start the agent: of the bundle that boot.py mounted, of the one before, or of the factory."""

import sys

import machine


def _run():
    from ivota import agent

    agent.run()


def _state():
    """Return the state that boot.py read, without the bundle's code, which may be broken."""
    try:
        import json

        with open("/ivota-state.json") as file:
            return dict(json.load(file))
    except Exception:
        return {}


def _leave():
    """Unmount the bundle and forget its modules."""
    import vfs

    for name, module in list(sys.modules.items()):
        if name == "bundlefs" or getattr(module, "__file__", "")[:5] == "/app/":
            del sys.modules[name]
    # Look for bundlefs like boot.py: in the firmware first, then on flash by its whole path.
    sys.path[:] = [".frozen"] + [path or "/" for path in sys.path if path[:4] != "/app"]
    vfs.umount("/app")


try:
    _run()
# Whatever ends a new version, the old one must return: boot.py counts the starts of a trial, and a
# confirmed version whose agent can't start is replaced until the next start.
except Exception as error:
    sys.print_exception(error)
    if "/app" not in sys.path:
        raise
    try:
        _leave()  # before json is needed: a bundle may contain its own
    except Exception as left:
        sys.print_exception(left)
    state = _state()
    trial = state.get("trial")
    if trial:
        try:
            if not isinstance(trial.get("died"), str):  # it has not recorded its own end
                from bundlefs import save

                trial["died"] = (type(error).__name__ + " " + str(error))[:100]
                save(state)
        except Exception as error:  # boot.py ends the trial in any case, but later
            sys.print_exception(error)
        machine.reset()
    for path in (state.get("previous"), None):
        try:
            if "/app" in sys.path:  # the previous one has also failed
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
