"""Run one download, to count its instructions: `count.py FOLDER HOST`; without HOST none."""

import os
import sys

import way

os.chdir(sys.argv[1])
if len(sys.argv) > 2 and way.download(sys.argv[2]) is False:
    sys.exit(1)
