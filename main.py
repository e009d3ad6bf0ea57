"""Start the agent: the one in the bundle that boot.py mounted, else the factory package's."""

import sys

import machine


def _run():
    from ivota import agent

    agent.run()


try:
    _run()
# Whatever a new version dies of, the old one must come back: boot.py counts the starts of a
# trial, and a confirmed version whose agent can't start leaves its place to the factory package.
except Exception as error:
    sys.print_exception(error)
    if "/app/lib" not in sys.path:
        raise
    from ivota import state

    if state.load().trial:
        machine.reset()
    for name in [name for name in sys.modules if name.split(".")[0] in ("ivota", "app")]:
        del sys.modules[name]
    sys.path.remove("/app/lib")
    sys.path.remove("/app")
    _run()
