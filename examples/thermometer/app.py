"""A thermometer that measures every few seconds and keeps the last hour, beside the updater."""

import asyncio
import json
import math
import time

from history import History

try:
    import esp32
except ImportError:  # another port, or a simulated board
    esp32 = None

with open("/app/settings.json") as _file:
    SETTINGS = json.load(_file)


def measure():
    """Return the chip's temperature in degrees Celsius, and a note if it is simulated."""
    if hasattr(esp32, "mcu_temperature"):  # ESP32-S2, S3, C3 and later chips
        return esp32.mcu_temperature(), ""
    if hasattr(esp32, "raw_temperature"):  # the first ESP32 measures in degrees Fahrenheit
        return (esp32.raw_temperature() - 32) / 1.8, ""
    # No sensor: simulate 19 to 23 degrees and back, every ten minutes.
    return 21 + 2 * math.sin(time.time() % 600 * math.pi / 300), "(simulated)"


async def main():
    """Measure forever; main.py runs this as a task beside the update client."""
    history = History(SETTINGS["keep"])
    while True:
        celsius, note = measure()
        history.add(celsius)
        print("thermometer: {:.1f} C, mean {:.1f} C".format(celsius, history.mean()), note)
        await asyncio.sleep(SETTINGS["every_s"])
