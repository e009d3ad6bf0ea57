"""The client goes on with another configuration; the application does not notice."""

from ivota import once
from ivota.link import Link


def switch(client, path):
    """Leave the cloud, and look for it as the configuration at `path` says."""
    client.log("warning", "config", path=path)
    wifi = client.config["wifi"]
    client.config = config = once("config").check(once("kept").read(path))
    client.dialect = once(config["dialect"])
    client.link.close(True)
    client.link = Link(config, client)
    client.directory = config["firmware_dir"]
    startup = once("startup")
    if startup.network and config["wifi"]["ssid"] and config["wifi"] != wifi:
        try:  # a board that is on a network joins no other
            startup.network.WLAN(startup.network.STA_IF).disconnect()
        except OSError:  # it has not come up
            pass
    startup.join(client)
