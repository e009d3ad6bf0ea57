"""Stands for requests 0.10.0, frozen into Debian's unix port of MicroPython 1.26."""

import socket  # noqa: F401

from doubles import requests_common

__version__ = "0.10.0"
Response = requests_common.Response
request = requests_common.make(globals(), (0, 10, 0))
requests_common.add_shortcuts(globals())
