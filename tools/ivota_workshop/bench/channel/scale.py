"""Calculate what a channel for ten million boards needs, from measured bytes."""

from __future__ import annotations

from collections.abc import Mapping

from ..download.lane import SIZE
from ..figures import SCALE, Figure, document

AREA = "scale"
BOARDS = 10_000_000
INTERVALS_S = (3_600, 86_400)
_MONTH_S = 30 * 86_400


def markdown(figures: Mapping[str, Figure]) -> str:
    """Return two tables: the cost of checks that find nothing new, and of an update of every
    board.
    """
    bytes_of = {
        "http": figures["channel_poll_bytes_unchanged"].value,
        "https": figures["channel_poll_bytes_unchanged_tls"].value,
    }
    update = SIZE * figures["channel_update_wire_ratio"].value
    lines = [
        "| boards check every | protocol | bytes per check | checks per second | Mbit/s "
        "| TB in 30 days |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for interval_s in INTERVALS_S:
        for protocol, size in bytes_of.items():
            per_s = BOARDS / interval_s
            month = BOARDS * size * _MONTH_S / interval_s
            lines.append(
                f"| {_hours(interval_s)} | {protocol} | {size:,.0f} | {per_s:,.0f} "
                f"| {per_s * size * 8 / 1e6:,.1f} | {month / 1e12:,.2f} |"
            )
    lines += [
        "",
        "| boards check every | share | downloads | bytes per download | Gbit/s | TB in total |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for interval_s in INTERVALS_S:
        for share in (100, 10):
            downloads = BOARDS * share // 100
            lines.append(
                f"| {_hours(interval_s)} | {share} % | {downloads:,} | {update:,.0f} "
                f"| {downloads * update * 8 / interval_s / 1e9:,.2f} "
                f"| {downloads * update / 1e12:,.2f} |"
            )
    return "\n".join(lines)


def write(figures: Mapping[str, Figure]) -> None:
    """Replace the tables of docs/scale.md."""
    document(SCALE, AREA, markdown(figures))


def _hours(seconds: int) -> str:
    return "hour" if seconds == 3_600 else f"{seconds // 3_600} hours"
