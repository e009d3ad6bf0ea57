"""Classify network addresses by sender and as local or not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def network(address: str) -> str:
    """Return the sender of an address: the IPv4 address, or the IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


class Networks:
    """Parse addresses and networks. Raises ValueError for any other text."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = tuple(texts)
        self._networks = [ipaddress.ip_network(each) for each in self.texts]

    def __contains__(self, address: object) -> bool:
        try:
            found = ipaddress.ip_address(str(address))
        except ValueError:
            return False
        return any(found in each for each in self._networks)
