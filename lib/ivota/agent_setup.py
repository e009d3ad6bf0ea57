"""Start the agent's client: configuration, version, network, watchdog, application."""

import json
import sys

from micropython import const

from ivota import describe, guarded_socket, once
from ivota.update_client import Client

_APP = "/app"  # where boot.py mounts the bundle
# Values of `armed` in the state: the watchdog of a trial, or that of the configuration.
_TRIALS = const(1)
_CONFIGURED = const(2)


def start(log):
    """Return (client, the application's `main`, or None if none runs)."""
    state = once("state").load()
    config_fallback = once("config_fallback")
    paths, more = config_fallback.usable(log)
    version, name = running()
    client = Client(config_fallback.read(paths[0], log), version, log=log, state=state)
    client.application = name
    client.chip_id = chip_id()
    client.after_watchdog = _watchdog_reset(state)
    if client.config["home_assistant"]:
        once("home_assistant").attach(client)
    if more:
        client.trial = config_fallback.ConfigTrial(client, paths, *more)
    join(client)
    _arm(client)
    log("info", "running", version=client.version, trial=bool(state.trial))
    return client, _application(client)


def _watchdog_reset(state):
    """Return whether the watchdog reset the board outside a trial, which reports that itself."""
    import machine

    if state.trial or state.ended or sys.platform == "rp2":  # there, any reset has this cause
        return False
    cause = getattr(machine, "WDT_RESET", None)
    return cause is not None and machine.reset_cause() == cause


def _arm(client):
    """Arm the watchdog, or take over an armed one, and record which one for `ivota board`.

    A watchdog can't be stopped: a trial's watchdog stays armed after the confirmation, and across
    soft resets. The write that confirms the trial records it; boot.py deletes the record after a
    hard reset.
    """
    state = client.state
    seconds = client.config["watchdog_s"]
    armed = _CONFIGURED if seconds else 0
    if not armed and (state.trial or state.armed == _TRIALS):
        armed = _TRIALS
    feed = once("watchdog").feeder(seconds or 60) if armed else None
    if feed:
        guarded_socket.hooks.feed = feed
    else:
        armed = 0
    noted, state.armed = state.armed, armed
    if armed != noted and armed != _TRIALS:
        try:
            once("state").save(state)
        except OSError as error:
            client.log("error", "flash", why=describe(error))


def join(client):
    """Let the board join the network in the client's configuration."""
    config = client.config
    name = config["network"]
    if name == "own":
        name = "custom_network"
    try:
        import network

        if config["hostname"]:
            network.hostname(config["hostname"])
    except ImportError:  # the unix port: its computer is on the network, under its own name
        if name != "custom_network":
            return
    if name:
        guarded_socket.hooks.online = once(name).Nic(config, client.log)


def running():
    """Return the version and the application of the mounted bundle.

    Without a bundle, return the version of the frozen image, or None to use the one in the
    configuration.
    """
    try:
        with open(_APP + "/ivota.json") as file:
            found = json.load(file)
        return found["version"], found.get("application")
    except OSError:
        pass
    try:
        from ivota_image import VERSION
    except ImportError:
        return None, None
    return VERSION, None


def chip_id():
    """Return the number of this ESP32's chip, or None if it is none or can't be read."""
    try:
        import esp32  # noqa: F401  elsewhere, the module is not worth its heap

        running_image_header = once("running_image_header")
        return running_image_header.chip_id(running_image_header.header())
    except (ImportError, OSError):
        return None


def _application(client):
    if _APP not in sys.path:
        return None
    try:
        import app

        return app.main
    except Exception as error:
        if client.state.trial:
            once("app_crash").keep(client.state, error)
            raise
        # Updates continue without it: one of them may fix it.
        sys.print_exception(error)
        client.log("error", "application_died", why=error)
        return None
