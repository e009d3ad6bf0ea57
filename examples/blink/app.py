"""Blinks: a plain main() has the main thread, the update client one of its own."""

import time

import machine

LED = 2  # of most ESP32 boards
EVERY_MS = 500


def main():
    """Blink until the board is restarted."""
    led = None
    if hasattr(machine, "Pin"):  # a simulated board has none
        led = machine.Pin(LED, machine.Pin.OUT)
    lit = False
    while True:
        lit = not lit
        if led:
            led.value(lit)
        time.sleep_ms(EVERY_MS)
