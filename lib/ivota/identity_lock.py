"""Keep a bundle's config.json, which overrides the board's, from changing the identity."""

import json

from micropython import const

from ivota import OtaError

_FAILED = const(-5)
_MOST = const(16384)  # bytes; json_file reads no more either
# One bundle is for many boards: these keys would make them all the same device.
_IDENTITY = const(("product_id", "device_name", "device_secret", "hardware"))


def drop_identity(config, log):
    """Remove the identity from the configuration of a bundle that is already on the board."""
    for key in _IDENTITY:
        if config.pop(key, None) is not None and log:
            log("warning", "identity_ignored", key=key)


def check(file, size):
    """Raise OtaError(-5) if the configuration at the position of `file` changes the identity.

    The code in the bundle checks the rest: it may know more keys.
    """
    if size > _MOST:
        return
    try:
        config = json.loads(file.read(size))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise OtaError(_FAILED, "the bundle's config.json is not a JSON object")
    for key in _IDENTITY:
        if config.get(key) is not None:
            raise OtaError(_FAILED, "the bundle's config.json must not set %s" % key)
