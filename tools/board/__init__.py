"""A real board, through mpremote: install the package and configuration, look, watch, remove."""

from ivota_tools.board.cli import app

__all__ = ["app"]
