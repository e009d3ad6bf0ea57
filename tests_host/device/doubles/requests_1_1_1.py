"""Stands for requests 1.1.1, frozen into MicroPython 1.29."""

import socket  # noqa: F401

from doubles import requests_common

__version__ = "1.1.1"
Response = requests_common.ClosingResponse
request = requests_common.make(globals(), (1, 1, 1))
requests_common.add_shortcuts(globals())
