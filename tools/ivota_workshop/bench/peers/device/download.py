"""A board's main.py around one downloader; it retries after each error, like ours.

Each downloader is a module `way` with `download(host)`, which writes HOST/firmware.py to the
current folder, raises or returns False if it notices a failure, and resets the board if it
normally does so.
"""

import json
import os
import sys
import time

import way

_REST_S = 1  # like our first back-off


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
