"""Measure a large fleet on PostgreSQL: intake in several processes, campaigns, pages, queries."""
