"""Manage a board through mpremote: install, show its status, watch its output, remove."""
