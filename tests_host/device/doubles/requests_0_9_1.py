"""Stands for urequests 0.9.1, on PyPI since 2018."""

import usocket  # noqa: F401

from doubles import requests_common

__version__ = "0.9.1"
Response = requests_common.Response
request = requests_common.make_old(globals())
requests_common.add_shortcuts(globals())
