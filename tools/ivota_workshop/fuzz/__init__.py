"""Hostile input for every parser by name: coverage-guided, with an oracle for each.

A parser's target is a small file in targets/ that says what it is, and its check: for what runs on
boards in device/ (on CPython through tests_host/shim, and on MicroPython), for the host's own in
host/. Its corpus is made from the seeds in targets/.
"""
