"""Fuzz each parser with hostile input, guided by coverage, and check each result.

Each parser has a small file in targets/ that describes it, and a check: in device/ for board code
(on CPython through tests_host/shim, and on MicroPython), in host/ for the host's own parsers. Its
corpus is built from the seeds in targets/.
"""
