"""Measurements: `make bench-AREA` writes build/bench/AREA.json."""
