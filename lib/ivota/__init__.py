"""Firmware updates that finish on bad networks and survive power cuts."""

__version__ = "0.1.0"

_HOMES = {"Client": "client", "Firmware": "client", "OtaError": "errors", "ConfigError": "errors"}


def __getattr__(name):
    # Loaded when first asked for: boot and tools that need one file do not pay for all.
    if name not in _HOMES:
        raise AttributeError(name)
    module = __import__("ivota." + _HOMES[name], None, None, (name,))
    value = getattr(module, name)
    globals()[name] = value
    return value
