"""The client goes on with another configuration; the application does not notice."""

from ivota import once
from ivota.link import Link


def switch(client, path):
    """Leave the cloud, and look for it as the configuration at `path` says."""
    client.log("warning", "config", path=path)
    client.config = once("config").check(once("kept").read(path))
    client.link.close(True)
    client.link = Link(client.config, client)
    client.directory = client.config["firmware_dir"]
    once("startup").join(client)
