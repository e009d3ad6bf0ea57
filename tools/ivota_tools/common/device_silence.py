"""How long a device may send nothing before lists and explanations call it silent."""

from __future__ import annotations

_LEAST_S = 3600.0  # boards report every few minutes, unless their owner changed that
_INTERVALS = 2.5  # reports can be late, and an answer with a new interval can be lost


def silent_s(report_interval_s: int | None) -> float:
    """Return that time in seconds; `report_interval_s` is what the cloud last told the device."""
    return max(_LEAST_S, _INTERVALS * (report_interval_s or 0))
