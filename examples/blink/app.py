"""Blink an LED: a plain main() runs in the main thread, beside the update client's thread."""

import time

import machine

LED = 2  # on most ESP32 boards
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
