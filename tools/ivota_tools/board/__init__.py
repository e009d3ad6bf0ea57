"""A real board, through mpremote: install the package and configuration, look, watch, remove."""
