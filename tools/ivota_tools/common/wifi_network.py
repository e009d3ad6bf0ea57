"""The section `wifi` of a board's configuration, with the limits of network_settings.py."""

from __future__ import annotations

import string

SSID_MOST = 32  # bytes
PASSWORD_LEAST, PASSWORD_MOST = 8, 63  # bytes, of WPA2 and WPA3

PLACEHOLDER = {"ssid": "your network", "password": "its password"}  # for the board's owner


class WifiError(ValueError):
    """No board can join such a network."""


def section(ssid: str, password: str) -> dict[str, str | None]:
    """Return the section; an open network has an empty password. Raises WifiError."""
    if not 0 < len(ssid.encode()) <= SSID_MOST:
        raise WifiError(f"the name of a Wi-Fi network must have 1 to {SSID_MOST} bytes")
    length = len(password.encode())
    is_key = length == 64 and not set(password) - set(string.hexdigits)
    if password and not (PASSWORD_LEAST <= length <= PASSWORD_MOST or is_key):
        raise WifiError(
            f"a Wi-Fi password must have {PASSWORD_LEAST} to {PASSWORD_MOST} characters, or 64 "
            "hexadecimal digits; leave it empty for an open network"
        )
    return {"ssid": ssid, "password": password or None}
