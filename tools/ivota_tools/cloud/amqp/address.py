"""The address of a RabbitMQ cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote

from ..cloud_error import CloudError
from ..mqtt.cloud_session import Address

SCHEMES = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class AmqpAddress:
    """The nodes of a cluster, as (host, port), with the credentials for all of them.

    `tls`: verified with the machine's certificates.
    """

    nodes: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = None
    virtual_host: str = "/"
    tls: bool = False

    @staticmethod
    def fits(text: str) -> bool:
        """Return whether the text is the address of a cluster rather than of an MQTT broker."""
        return text.partition("://")[0] in SCHEMES

    @staticmethod
    def read(text: str) -> AmqpAddress:
        """Parse `amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]]…[/VHOST]`.

        In USER, PASSWORD and VHOST %40 stands for @, %2F for a slash, and so on. Raises
        CloudError.
        """
        scheme, _, rest = text.partition("://")
        signed, _, where = rest.rpartition("@")
        hosts, slash, virtual_host = where.partition("/")
        nodes = tuple(_node(each, SCHEMES[scheme]) for each in hosts.split(","))
        user, colon, password = signed.partition(":")
        return AmqpAddress(
            nodes,
            unquote(user) or None,
            unquote(password) if colon else None,
            unquote(virtual_host) if slash and virtual_host else "/",
            scheme == "amqps",
        )

    def with_password(self, password: str) -> AmqpAddress:
        """Return the address with a password from elsewhere. Raises CloudError."""
        if self.password is not None:
            raise CloudError("--broker already contains a password: specify it only once")
        if self.user is None:
            raise CloudError("a broker password needs a user name: use --broker amqp://USER@HOST")
        return replace(self, password=password)

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.nodes)


def read_address(text: str | None, password: str | None) -> Address | AmqpAddress | None:
    """Parse the address of an external broker, by MQTT or AMQP. Raises CloudError."""
    if text is None:
        return None
    kind = AmqpAddress if AmqpAddress.fits(text) else Address
    address = kind.read(text)
    return address if password is None else address.with_password(password)


def _node(text: str, usual: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(usual)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise CloudError(f"{text!r} is not a valid RabbitMQ address: use HOST:PORT")
    return host.strip("[]"), int(port)
