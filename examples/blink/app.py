"""Blinks: a plain main() has the main thread, the update client one of its own."""

import time

try:
    from machine import Pin
except ImportError:  # a simulated board
    Pin = None

LED = 2  # of most ESP32 boards
EVERY_MS = 500


def main():
    """Blink until the board is restarted."""
    led = Pin(LED, Pin.OUT) if Pin else None
    lit = False
    while True:
        lit = not lit
        if led:
            led.value(lit)
        time.sleep_ms(EVERY_MS)
