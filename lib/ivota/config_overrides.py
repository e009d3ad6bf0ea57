"""A bundle's config.json, which overrides keys of the board's own, but never who the board is."""

import json

from micropython import const

from ivota import OtaError

_FAILED = const(-5)
_MOST = const(16384)  # bytes; jsonfile reads no more either
# One bundle is for many boards: with these all of them would become the same.
_IDENTITY = ("product_id", "device_name", "device_secret")


def drop_identity(config, log):
    """Take the identity out of a bundle's configuration that came onto the board all the same."""
    for key in _IDENTITY:
        if config.pop(key, None) is not None and log:
            log("warning", "identity_ignored", key=key)


def check(file, size):
    """Raises OtaError(-5) where the configuration that `file` is at changes the identity.

    All else is left to the code that the bundle brings, which may know more keys than this.
    """
    if size > _MOST:
        return
    try:
        config = json.loads(file.read(size))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise OtaError(_FAILED, "the bundle's config.json is not an object in JSON")
    for key in _IDENTITY:
        if config.get(key) is not None:
            raise OtaError(_FAILED, "the bundle's config.json sets %s of the board" % key)
