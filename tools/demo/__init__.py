"""`make demo`: whole updates on a simulated board, over a bad link, before your eyes."""

from ivota_tools.demo.play import main

__all__ = ["main"]
