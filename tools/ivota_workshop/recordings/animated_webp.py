"""Combine pictures of a page into one animated WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .timed_console import played

END_S = 5.0
MOST_BYTES = 1_500_000


def write(path: Path, frames: Sequence[tuple[float, Image.Image]]) -> Path:
    """Write the animation. Raises ValueError if it becomes too large for a README."""
    moments = played(frames)
    starts_ms = [round(1000 * at_s) for at_s, _ in moments]
    lasts_ms = [after - at for at, after in zip(starts_ms, starts_ms[1:])]  # noqa: B905
    first, *others = [image for _, image in moments]
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=[*(max(20, each) for each in lasts_ms), round(1000 * END_S)],
        loop=0,
        lossless=True,
        method=4,
        minimize_size=True,
    )
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    return path
