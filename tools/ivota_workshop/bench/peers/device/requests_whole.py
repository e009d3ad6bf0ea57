"""As most tutorials have it: the whole body in RAM, then into the file."""

import requests


def download(host):
    response = requests.get(host + "/firmware.py")
    if response.status_code != 200:
        return False
    with open("firmware.py", "wb") as file:
        file.write(response.content)
    response.close()
