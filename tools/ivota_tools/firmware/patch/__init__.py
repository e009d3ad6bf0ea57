"""Patches: deltas from another firmware, and compressed firmware.

docs/formats.md describes the format.
"""

from .format import KINDS, MAGIC, WINDOW, Patch, PatchError, Record, Summary
from .reader import apply, fits, read, records, summarize
from .writer import make

__all__ = [
    "KINDS",
    "MAGIC",
    "WINDOW",
    "Patch",
    "PatchError",
    "Record",
    "Summary",
    "apply",
    "fits",
    "make",
    "read",
    "records",
    "summarize",
]
