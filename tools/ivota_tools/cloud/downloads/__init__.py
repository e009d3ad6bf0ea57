"""Firmware downloads: signed URLs and byte ranges."""
