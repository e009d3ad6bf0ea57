"""Firmware updates that finish on bad networks and survive power cuts."""

__version__ = "0.1.0"
