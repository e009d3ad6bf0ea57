"""A board's main.py for tests: an application that burns its firmware itself, without slots.

/app.json may hold `exit_s` (how long it runs), `downloads` (so many are begun before `exit_s`
counts), `report` (the arguments of update_progress, else "done"), `raises` (a text that
on_firmware raises), `burn_s` (how long burning takes, the client stepping on), `fills` (once
a download has begun, it takes all the room there is, until the next start) and `gate` (the port of
a Gate, which says after each retry when the board goes on).
"""

import json
import socket
import time

from ivota import Client, json_file

config = json_file.load("/ivota.json")
script = json_file.load("/app.json") or {}
burnt = json_file.load("/burnt.json") or {}
begun = time.ticks_ms()
downloads = 0
due = None
json_file.remove("/full")


def fill():
    try:
        with open("/full", "wb") as file:
            while file.write(bytes(4096)):
                file.flush()
    except OSError as error:
        print("app: full", error)


def log(_level, event, **fields):
    global begun, downloads
    print("ivota:", event, json.dumps(fields))
    if event == "download":
        downloads += 1
        if downloads == script.get("downloads"):
            begun = time.ticks_ms()
        if "fills" in script:
            fill()
    if event == "retry" and "gate" in script:
        gate = socket.socket()
        try:
            gate.connect(socket.getaddrinfo("127.0.0.1", script["gate"])[0][-1])
            gate.read(1)
        except OSError:  # it is open for good
            pass
        gate.close()


def ends():
    if "exit_s" not in script or downloads < script.get("downloads", 0):
        return False
    return time.ticks_diff(time.ticks_ms(), begun) > script["exit_s"] * 1000


def on_firmware(firmware):
    global due
    print(
        "app: burns",
        firmware.path,
        firmware.size,
        firmware.payload_size,
        firmware.md5,
        json.dumps(firmware.version),
    )
    if "raises" in script:
        raise ValueError(script["raises"])
    due = time.ticks_add(time.ticks_ms(), int(script.get("burn_s", 0) * 1000))
    burnt["version"] = firmware.version


def on_failure(error):
    print("app: failure", error.code, error.message)


client = Client(
    config, burnt.get("version") or config["version"], on_firmware, on_failure, log=log
)
while not client.exiting:
    if not client.step():
        time.sleep_ms(client.next_step_ms())
    if due is not None and time.ticks_diff(time.ticks_ms(), due) >= 0:
        due = None
        said = script.get("report") or ["done"]
        if said[0] == "done":
            json_file.save("/burnt.json", burnt)
        client.update_progress(*said)
    if ends():
        client.exit()
client.close()
print("app: ended")
