"""MicroPython on CPython: a world of its own for the device's code, beside the host's."""

from .world import World

__all__ = ["World"]
