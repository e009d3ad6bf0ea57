"""Stands for requests 0.10.2, frozen into MicroPython 1.25 to 1.28."""

import socket  # noqa: F401

from doubles import requests_common

__version__ = "0.10.2"
Response = requests_common.Response
request = requests_common.make(globals(), (0, 10, 2))
requests_common.add_shortcuts(globals())
