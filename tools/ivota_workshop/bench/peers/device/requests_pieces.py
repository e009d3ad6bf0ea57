"""Download as tutorials for larger files do: 512 bytes at a time, until there are no more."""

import requests


def download(host):
    response = requests.get(host + "/firmware.py", stream=True)
    if response.status_code != 200:
        return False
    with open("firmware.py", "wb") as file:
        while True:
            chunk = response.raw.read(512)
            if not chunk:
                break
            file.write(chunk)
    response.close()
