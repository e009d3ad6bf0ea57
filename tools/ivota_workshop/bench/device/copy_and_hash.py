"""The lower bound of building firmware: `copy_and_hash.py FROM TO`; FROM alone only starts."""

import hashlib
import sys

CHUNK = 512


def run(source, place):
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK)
    with open(source, "rb") as file, open(place, "wb") as out:
        while True:
            n = file.readinto(buffer)
            if not n:
                break
            out.write(buffer, n)
            digest.update(buffer if n == CHUNK else memoryview(buffer)[:n])
    print(digest.digest())


if len(sys.argv) > 2:
    run(sys.argv[1], sys.argv[2])
