"""Metrics for Prometheus: what is counted as it happens, and what is read at each scrape."""
