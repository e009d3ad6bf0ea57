"""A thermometer: measures every few seconds and keeps the last hour, updates running beside it."""

import asyncio
import json

from history import History

try:
    import esp32
except ImportError:  # another port, or a simulated board
    esp32 = None

with open("/app/settings.json") as _file:
    SETTINGS = json.load(_file)


def celsius():
    """The chip's own temperature in degrees Celsius, None where it has no sensor."""
    if esp32 is None or not hasattr(esp32, "mcu_temperature"):
        return None
    return esp32.mcu_temperature()


async def main():
    """Measure until the board is switched off; main.py runs this as a task beside the client."""
    history = History(SETTINGS["keep"])
    while True:
        value = celsius()
        if value is not None:
            history.add(value)
            print("thermometer:", value, "mean", history.mean())
        await asyncio.sleep(SETTINGS["every_s"])
