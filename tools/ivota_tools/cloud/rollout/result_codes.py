"""Describe the result codes of devices' reports (docs/protocol.md)."""

from __future__ import annotations

_MEANINGS = {
    0: "no error",
    -1: "the download timed out or the connection kept breaking",
    -2: "the server did not find the firmware",
    -3: "the download URL had expired",
    -4: "the download is corrupt (wrong size or MD5)",
    -5: "the board could not install the firmware, or the trial failed and the board rolled back",
}


def code(number: int | None) -> str:
    """Return a result code in words."""
    if number is None:
        return "no reason given"
    return _MEANINGS.get(number, f"an unknown result code ({number})")
