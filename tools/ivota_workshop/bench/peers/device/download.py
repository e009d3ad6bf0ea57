"""A board's main.py around one of the ways to download: again after each error, as ours does.

Each way is a module `way` with `download(host)`: it puts HOST/firmware.py into the current
folder, raises or returns False where it knows that it has failed, and resets the board where
that is its habit.
"""

import json
import os
import sys
import time

import way

_REST_S = 1  # as ours at first


def main():
    with open("/peer.json") as file:
        config = json.load(file)
    os.chdir(config["folder"])
    for number in range(config["tries"]):
        if number:
            time.sleep(_REST_S)
        print("peer: try")
        try:
            if way.download(config["host"]) is not False:
                print("peer: done")
                return
            print("peer: failed")
        except Exception as e:
            sys.stdout.write("peer: error ")
            sys.print_exception(e)
    print("peer: gives up")


main()
