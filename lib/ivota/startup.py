"""What the agent does once: configuration, version, network, watchdog, application."""

import sys

try:
    import network
except ImportError:  # the unix port is on the network already
    network = None

from ivota import net, once
from ivota.client import Client

_APP = "/app"  # where boot.py mounts the bundle


def start(log):
    """(client, the application's `main` or None where none runs)."""
    state = once("state").load()
    kept = once("kept")
    paths, more = kept.usable(log)
    client = Client(kept.read(paths[0], log), running_version(), log=log, state=state)
    if more:
        client.trial = kept.ConfigTrial(client, paths, *more)
    join(client)
    seconds = client.config["watchdog_s"] or (60 if state.trial else 0)
    if seconds:
        net.feed = once("watchdog").feeder(seconds) or net.feed
    log("info", "running", version=client.version, trial=bool(state.trial))
    return client, _application(client)


def join(client):
    """Have the board come onto the network that the client's configuration names."""
    config = client.config
    name = config["network"]
    if network and config["hostname"]:
        network.hostname(config["hostname"])
    if network and name or name == "own":
        net.online = once(name).Nic(config, client.log)


def running_version():
    """The mounted bundle's version, else the frozen image's, else None: the configuration's."""
    try:
        with open(_APP + "/ivota.json", "rb") as file:
            for entry in once("filelist").entries(file, 1 << 20):
                version = entry.get("version")
            return version
    except OSError:
        pass
    try:
        from ivota_image import VERSION
    except ImportError:
        return None
    return VERSION


def _application(client):
    if _APP not in sys.path:
        return None
    try:
        import app

        return app.main
    except Exception as error:
        if client.state.trial:
            once("persist").died(client.state, error)
            raise
        # Updates go on without it: one of them may be the cure.
        sys.print_exception(error)
        client.log("error", "application_died", why=error)
        return None
