"""mip's own download of a single file."""

import os

import mip


def download(host):
    mip.install(host + "/firmware.py", target=os.getcwd())
