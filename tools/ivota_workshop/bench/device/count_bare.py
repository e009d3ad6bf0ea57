"""The lower bound of a download: `count_bare.py PORT SIZE PATH`; SIZE 0 only starts."""

import hashlib
import socket
import sys

PORT = int(sys.argv[1])
SIZE = int(sys.argv[2])
CHUNK = 1436  # bytes of one packet


def run(buffer, left, file):
    connection = socket.socket()
    connection.connect(socket.getaddrinfo("127.0.0.1", PORT)[0][-1])
    connection.write(b"GET / HTTP/1.0\r\n\r\n")
    while connection.readline() != b"\r\n":
        pass
    digest = hashlib.md5()
    while left:
        n = connection.readinto(buffer)
        if n < CHUNK:
            digest.update(memoryview(buffer)[:n])
        else:
            digest.update(buffer)
        file.write(buffer, n)
        file.flush()
        left -= n
    connection.close()


with open(sys.argv[3], "wb") as file:
    run(bytearray(CHUNK), SIZE, file)
