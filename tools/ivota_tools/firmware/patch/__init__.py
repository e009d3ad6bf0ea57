"""Patches: what a board makes a firmware of, out of one that it has (a delta) or of nothing.

docs/formats.md describes them byte by byte.
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
