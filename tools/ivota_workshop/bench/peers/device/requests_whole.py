"""Download as most tutorials do: the whole body into RAM, and from there into the file."""

import requests


def download(host):
    response = requests.get(host + "/firmware.py")
    if response.status_code != 200:
        return False
    with open("firmware.py", "wb") as file:
        file.write(response.content)
    response.close()
