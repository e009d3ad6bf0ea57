"""The checks of the host's own parsers."""
