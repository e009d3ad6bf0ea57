"""`python -m ivota_workshop.recordings`: run the demo once, and record terminal and console."""

import sys

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.demo import command

from . import animated_svg, animated_webp, demo_page
from .console_film import ConsoleFilm
from .timed_console import TimedConsole

IMAGES = CHECKOUT / "docs" / "images"


def main() -> int:
    """Return the demo's exit code. Nothing is written if the demo fails."""
    console = TimedConsole()
    with ConsoleFilm() as film:
        failed = command.main(console=console, watch=film.of)
    if failed:
        return failed
    written = [demo_page.write(console.text)]
    for dark, end in ((False, ""), (True, "-dark")):
        svg = IMAGES / f"demo{end}.svg"
        svg.write_text(animated_svg.draw("make demo", console.blocks, dark))
        written += [
            svg,
            animated_webp.write(IMAGES / f"demo-console{end}.webp", film.frames[dark]),
        ]
    for path in written:
        print(f"{path.relative_to(CHECKOUT)}: {path.stat().st_size / 1000:,.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
