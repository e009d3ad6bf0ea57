"""Gives every input of a folder to a check, in whatever heap this interpreter has.

    micropython -X heapsize=32K run_corpus.py NAME FOLDER FLASH

A line for each: how it ended. `FLASH` is an empty folder for the check's own files.
"""

import gc
import os
import sys

import room


def main(name, folder, flash):
    room.FOLDER = flash
    check = __import__("fuzz_" + name).check
    known = os.listdir(flash)
    gc.collect()
    for file in sorted(os.listdir(folder)):
        try:
            with open(folder + "/" + file, "rb") as opened:
                data = opened.read()
            outcome = check(data)
        except MemoryError:
            outcome = "MemoryError"
        data = None
        clear(flash, known)
        gc.collect()
        print("%s: %s" % (file, outcome))


def clear(flash, known):
    """Leave what was there before."""
    for entry in list(os.ilistdir(flash)):
        path = flash + "/" + entry[0]
        if entry[1] & 0x4000:
            clear(path, ())
            os.rmdir(path)
        elif entry[0] not in known:
            os.remove(path)


main(*sys.argv[1:])
